"""A copy of a study's journal that follows it: for programs that show a ledger, and could change the study's own."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.ledger.journal import JOURNAL, Studies, repair


class FollowingCopy:
    """A copy of a journal; `follow` appends what the journal has gained.

    Args:
        folder: the study's.
        copy: the file to make.
        studies: the directions of its Optuna studies by the names that these may have.
    """

    def __init__(self, folder: Path, copy: Path, studies: Studies) -> None:
        self._journal, self._copy = folder / JOURNAL, copy
        self._file = self._identity()
        content = self._journal.read_bytes()
        self._read = content.rfind(b"\n") + 1
        copy.write_bytes(repair(content[: self._read], studies).content)

    def _identity(self) -> tuple[int, int]:
        state = self._journal.stat()
        return state.st_dev, state.st_ino

    def storage(self, metrics: Sequence[str]) -> JournalStorage:
        """The copy as Optuna's storage, in which every study says what its values are.

        Args:
            metrics: names of the values of arms that search; others have the first alone.
        """
        storage = JournalStorage(JournalFileBackend(str(self._copy)))
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            for name in optuna.get_all_study_names(storage):
                study = optuna.load_study(study_name=name, storage=storage)
                study.set_metric_names([*metrics[: len(study.directions)]])
        return storage

    def follow(self) -> None:
        """Append the whole lines that the journal has gained.

        Raises:
            ValueError: the journal is another file now, because a driver has repaired it, or is gone.
        """
        try:
            another = self._identity() != self._file or self._journal.stat().st_size < self._read
        except FileNotFoundError:
            another = True
        if another:
            raise ValueError(f"{self._journal} was replaced, and is no longer followed; give the same command again")
        with self._journal.open("rb") as journal:
            journal.seek(self._read)
            gained = journal.read()
        whole = gained[: gained.rfind(b"\n") + 1]
        if not whole:
            return
        with self._copy.open("ab", buffering=0) as copy:
            copy.write(whole)
        self._read += len(whole)

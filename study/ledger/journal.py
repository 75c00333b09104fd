"""The journal's file: what a dying driver or a failing disk leaves in it is named and passed over.

The journal is Optuna's: a line is an operation in JSON, and studies and trials are numbered by the order of their
creation. So a line that cannot be read may be left out, unless it created something: then all that was created later
would change its number. Later lines that speak of what was never created tell so, and a blank stands for the lost line.
A driver mends the file and keeps the former one beside it; a reader, who has no lock, mends a copy.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from optuna.distributions import json_to_distribution
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from study.ledger.deletion import DeletedArmError
from study.ledger.optuna_internals import OPERATION_FIELDS
from study.ledger.optuna_internals import JournalOperation as Operation

JOURNAL = "study.journal"
BEGAN, RUN = "began", "run"
"""User attributes, of a study and of a trial, that name the arm."""

Entry = dict[str, Any]
Studies = Mapping[str, Sequence[StudyDirection]]
NO_STUDIES: Studies = {}


class Repaired(NamedTuple):
    """A journal that Optuna can read, and the lines of the former one that nobody can, counted from 1."""

    content: bytes
    unreadable: list[int]


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
        fields = OPERATION_FIELDS[entry["op_code"]] | {"worker_id"}
        if "distribution" in entry:
            json_to_distribution(entry["distribution"])
    except (ValueError, TypeError, KeyError):
        return None
    return entry if fields <= entry.keys() and line.endswith(b"\n") else None


def repair(content: bytes, studies: Studies) -> Repaired:
    """Leave out what is no entry, or put a blank in its place where it created something.

    Args:
        content: of a journal.
        studies: the directions of its Optuna studies by the names that these may have, each ending in its arm.
    """
    lines = content.splitlines(keepends=True)
    entries = [_entry(line) for line in lines]
    unreadable = [index for index, entry in enumerate(entries) if entry is None]
    if not unreadable:
        return Repaired(content, [])
    blanks = _blanks(entries, studies)
    kept = (blanks.get(index, b"") if entry is None else lines[index] for index, entry in enumerate(entries))
    return Repaired(b"".join(kept), [index + 1 for index in unreadable])


def _blanks(entries: Sequence[Entry | None], studies: Studies) -> dict[int, bytes]:
    """Lines that create again what unreadable lines created, by the index of the line that each replaces.

    Optuna numbers studies and trials in the order of their creation. An entry on a number that nothing has created yet
    proves that one of the unreadable lines before it was that creation; which of them is not known, and the last one is
    taken. For example, in "create trial", unreadable, "trial 1 reports" the last entry is on trial 1 where only trial 0
    was created: the unreadable line is replaced by the creation of a trial. An unreadable line that no later entry
    needs is left out.
    """
    names: list[str] = []  # of the studies created so far, by number
    trials = 0
    lost: list[tuple[int, int, int]] = []  # index, and the numbers that a study and a trial created there would have
    blanks: dict[int, bytes] = {}
    for index, entry in enumerate(entries):
        if entry is None:
            lost.append((index, len(names), trials))
            continue
        while lost and entry.get("study_id", -1) >= len(names):
            replaced, number, _ = lost.pop()
            names.insert(number, _name(entries, number, [name for name in studies if name not in names]))
            wanted = studies.get(names[number], [StudyDirection.MAXIMIZE])
            fields = {"study_name": names[number], "directions": [one.value for one in wanted]}
            blanks[replaced] = _blank(Operation.CREATE_STUDY, **fields)
        while lost and entry.get("trial_id", -1) >= trials:
            replaced, _, number = lost.pop()
            blanks[replaced] = _blank(Operation.CREATE_TRIAL, study_id=_study(entries, number, names))
            trials += 1
        if entry["op_code"] == Operation.CREATE_STUDY and entry["study_name"] not in names:
            names.append(entry["study_name"])  # every start of a driver asks for it again
        trials += entry["op_code"] == Operation.CREATE_TRIAL
    return blanks


def _blank(operation: Operation, **fields: Any) -> bytes:
    time = datetime.now().isoformat(timespec="microseconds")
    shared = {"datetime_start": time}
    kept = {name: value for name, value in shared.items() if name in OPERATION_FIELDS[operation]}
    return json.dumps({"op_code": operation, "worker_id": "mended", **kept, **fields}).encode() + b"\n"


def _name(entries: Sequence[Entry | None], study: int, free: Sequence[str]) -> str:
    """The name of a study, by the arm that a later entry calls it."""
    for entry in entries:
        if entry and entry.get("study_id") == study and BEGAN in entry.get("user_attr", {}):
            arm = entry["user_attr"][BEGAN]["arm"]
            return next((name for name in free if name.rpartition("/")[2] == arm), arm)
    return next(iter(free), f"lost-{study}")


def _study(entries: Sequence[Entry | None], trial: int, names: Sequence[str]) -> int:
    """The study of a trial, by the arm in which a later entry runs it."""
    arms = [name.rpartition("/")[2] for name in names]
    for entry in entries:
        if entry and entry.get("trial_id") == trial and RUN in entry.get("user_attr", {}):
            arm = json.loads(entry["user_attr"][RUN])["arm"]
            if arm in arms:
                return arms.index(arm)
    return len(arms) - 1


class Backend(JournalFileBackend):
    """Optuna's, but a line that did not fit on the disk leaves nothing, where the next one would be glued to its half.

    And a line that deletes an arm is not followed but refused. Only for one writer at a time; the study's lock sees to
    that.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._created: dict[int, str] = {}

    def read_logs(self, log_number_from: int) -> Iterator[Entry]:  # type: ignore[override]  # it is only iterated
        """The journal's entries from this number on.

        Raises:
            DeletedArmError: one of them deletes an Optuna study.
        """
        for number, entry in enumerate(super().read_logs(log_number_from), start=log_number_from):
            if entry["op_code"] == Operation.CREATE_STUDY:
                self._created[number] = entry["study_name"]
            elif entry["op_code"] == Operation.DELETE_STUDY:
                raise DeletedArmError(self._refusal(number, entry["study_id"]))
            yield entry

    def _refusal(self, number: int, study: int) -> str:
        names = list(dict.fromkeys(name for _, name in sorted(self._created.items())))  # every driver names them again
        deleted = names[study] if study < len(names) else f"study {study}"
        return (
            f"a study's ledger must keep its arms, but line {number + 1} of {JOURNAL} deletes {deleted}, as another "
            "program wrote it; take that line out while no driver is at work. To look at a study: kdstudy dashboard DIR"
        )

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError as error:
            os.truncate(self._path, size)
            raise OSError(error.errno, error.strerror, str(self._path)) from None


def repair_journal(folder: Path, studies: Studies = NO_STUDIES) -> list[str]:
    """Make the journal of a study readable again; only for the driver, before it opens it.

    Half a last line is cut off: the next line would be glued to it. Whatever is taken away is kept beside the journal.

    Args:
        folder: the study's.
        studies: the directions of its Optuna studies by the names that these may have.

    Returns:
        What was done, a line each.
    """
    journal = folder / JOURNAL
    if not journal.exists():
        return []
    # a dead driver's; Optuna would wait for half a minute before it breaks it
    (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
    content = journal.read_bytes()
    good = content.rfind(b"\n") + 1
    done = []
    if good != len(content):
        (folder / f"{JOURNAL}.torn").write_bytes(content[good:])
        with journal.open("r+b") as file:
            file.truncate(good)
        done.append(f"{journal} ended in half a line ({len(content) - good} bytes); it was moved to {JOURNAL}.torn")
    repaired = repair(content[:good], studies)
    if repaired.unreadable:
        shutil.copyfile(journal, folder / f"{JOURNAL}.damaged")
        _replace(journal, repaired.content)
        done.append(f"{journal}: {_listed(repaired.unreadable)}; passed over, and the file kept as {JOURNAL}.damaged")
    return done


def _listed(lines: Sequence[int]) -> str:
    numbers = ", ".join(map(str, lines[:5])) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
    return f"line{'' if len(lines) == 1 else 's'} {numbers} cannot be read"


def _replace(path: Path, content: bytes) -> None:
    writing = path.with_name(f"{path.name}.writing")
    with writing.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    writing.replace(path)

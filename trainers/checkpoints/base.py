"""The checkpoints of one trial, wherever they lie: the newest ones and the best one are kept, damaged ones skipped.

Those of evaluations are named `checkpoint_<iteration>` and are what all readers mean by a trial's checkpoints. Beside
them there is at most one interim checkpoint, `interim_<iteration>`, left between two evaluations: a trial goes on from
it, and nobody else reads it. The next evaluation's takes its place. What differs between a folder and a store is
abstract here; both have the same names and files.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from trainers.addresses import joined
from trainers.checkpoints.manifest import READERS

KEEP = 2
"""Newest checkpoints that are kept: the second is there where the first turns out to be damaged."""

ALL = tuple(READERS)
"""The files of a checkpoint."""


class DamagedError(ValueError):
    """A checkpoint is not what was written, or was never written to its end; the message names the file."""


def name_of(iteration: int) -> str:
    """The name of an iteration's checkpoint."""
    return f"checkpoint_{iteration:09d}"


def interim_name_of(iteration: int) -> str:
    """The name of an interim checkpoint."""
    return f"interim_{iteration:09d}"


def iteration_of(name: str) -> int:
    """The iteration of a checkpoint of either kind."""
    return int(name.rpartition("_")[2])


class Checkpoints(ABC):
    """The checkpoints of one trial; one process at a time writes them.

    Args:
        place: the trial's folder or URL.
        keep: number of newest checkpoints that are kept, in addition to the one of the best evaluation.
    """

    def __init__(self, place: str | Path, keep: int = KEEP) -> None:
        self.place, self.keep = str(place), keep

    @abstractmethod
    def names(self) -> list[str]:
        """Names of the evaluations' checkpoints, oldest first, damaged ones included."""

    @abstractmethod
    def interim_names(self) -> list[str]:
        """Names of interim checkpoints, damaged ones included; more than one only where a process died meanwhile."""

    @abstractmethod
    def write(self, files: Mapping[str, bytes], *, iteration: int, best: int) -> None:
        """Write the files of a checkpoint, all or none. May run in another thread than the training.

        Args:
            files: content by name.
            iteration: of this checkpoint.
            best: iteration of the best evaluation so far.

        Raises:
            ValueError: the disk is full, or the store out of reach; what was there before is still there.
        """

    @abstractmethod
    def add(self, *, iteration: int, best: int) -> None:
        """Commit the checkpoint that was written last; interim ones are gone then."""

    @abstractmethod
    def write_interim(self, files: Mapping[str, bytes], *, iteration: int) -> None:
        """Write and commit an interim checkpoint in the place of the one before, all or none, with no other pending.

        May run in another thread than the training.

        Args:
            files: content by name.
            iteration: of this checkpoint.

        Raises:
            ValueError: the disk is full, or the store out of reach; what was there before is still there.
        """

    @abstractmethod
    def drop(self) -> None:
        """Remove the checkpoint that was written last, if it is not committed by `add`."""

    @abstractmethod
    def open(self, name: str, files: Collection[str] = ALL) -> AbstractContextManager[Path]:
        """A checkpoint as a folder with these files, verified: its own folder, or a temporary copy.

        Raises:
            DamagedError: a file is not as it was written.
            UnreachableError: the store cannot be reached.
        """

    @abstractmethod
    def _clear_up(self) -> None:
        """Remove incomplete checkpoints of an earlier attempt."""

    @abstractmethod
    def _set_aside(self, name: str) -> None:
        """Rename a damaged checkpoint so that it no longer counts as one."""

    def of(self, iteration: int) -> str:
        """The address of an iteration's checkpoint, whether it exists or not."""
        return joined(self.place, name_of(iteration))

    def all(self) -> list[str]:
        """The addresses of all checkpoints, oldest first, damaged ones included."""
        return [joined(self.place, name) for name in self.names()]

    def newest_iteration(self) -> int:
        """The iteration that the trial has come to by its checkpoints of either kind; 0 where it has none."""
        return max(map(iteration_of, (*self.names(), *self.interim_names())), default=0)

    def whole(self, files: Collection[str] = ALL) -> Iterator[str]:
        """The addresses of those whose `files` are not damaged, newest first."""
        return (joined(self.place, name) for name in reversed(self.names()) if self.damage(name, files) is None)

    def damage(self, name: str, files: Collection[str] = ALL) -> str | None:
        """What is wrong with these files of a checkpoint, naming the file; None where they are as they were written."""
        try:
            with self.open(name, files):
                return None
        except DamagedError as wrong:
            return str(wrong)

    @contextmanager
    def latest(self) -> Iterator[tuple[Path | None, str | None]]:
        """The newest undamaged one of either kind as a folder, or None; and a warning of newer, damaged ones, or None.

        Damaged ones are renamed, so that they do not count among the newest but can be examined.
        """
        self._clear_up()
        faults: list[str] = []
        with ExitStack() as stack:
            found = None
            for name in sorted([*self.names(), *self.interim_names()], key=iteration_of, reverse=True):
                try:
                    found = stack.enter_context(self.open(name))
                    break
                except DamagedError as wrong:
                    faults.append(str(wrong))
                    self._set_aside(name)
            yield found, _warning(faults, found)

    def _outdated(self, names: list[str], best: int) -> list[str]:
        return [name for name in names[: -self.keep] if name != name_of(best)]


def _warning(faults: list[str], found: Path | None) -> str | None:
    if not faults:
        return None
    then = f"the trial goes on from {found.name}" if found else "no checkpoint is left, so the trial starts anew"
    return f"{'; '.join(faults)}; {then}"

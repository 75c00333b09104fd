"""The checkpoints of a trial, in a folder or a store: the newest ones and the best one kept, damaged ones passed over.

Both kinds have the same names and files. In a folder a checkpoint is written under another name and renamed into place.
Stores have no rename (`checkpoint_store`); there a checkpoint counts once its manifest is there.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trainers.addresses import is_url, joined, shown
from trainers.checkpoint_folder import READERS, fault, write

KEEP = 2
"""Newest checkpoints that are kept: a trial is at most two reports ahead of who reads them."""

WRITING = "checkpoint.writing"
"""Name of a folder that is being written."""

ALL = tuple(READERS)
"""The files of a checkpoint."""


class DamagedError(ValueError):
    """A checkpoint is not what was written, or was never written to its end; the message names the file."""


def name_of(iteration: int) -> str:
    """The name of an iteration's checkpoint."""
    return f"checkpoint_{iteration:09d}"


class Checkpoints(ABC):
    """The checkpoints of one trial, `checkpoint_<iteration>` at its place; one process at a time adds to them.

    Args:
        place: the trial's folder or URL.
        keep: newest checkpoints that are kept, beside the one of the best evaluation.
    """

    def __init__(self, place: str | Path, keep: int = KEEP) -> None:
        self.place, self.keep = str(place), keep

    @abstractmethod
    def names(self) -> list[str]:
        """Those in place, oldest first, damaged ones among them."""

    @abstractmethod
    def write(self, files: Mapping[str, bytes], *, iteration: int, best: int) -> None:
        """Bring the files of a checkpoint there; whole or not at all. May run beside the training.

        Args:
            files: content by name.
            iteration: of this checkpoint.
            best: iteration of the best evaluation so far.

        Raises:
            ValueError: the disk is full, or the store out of reach; what was there before is still there.
        """

    @abstractmethod
    def add(self, *, iteration: int, best: int) -> None:
        """Let the checkpoint that was written last count from now on."""

    @abstractmethod
    def drop(self) -> None:
        """Take back the checkpoint that was written last, and not added."""

    @abstractmethod
    def _clear_up(self) -> None:
        """Remove what an attempt that died was writing."""

    @abstractmethod
    def _set_aside(self, name: str) -> None:
        """Move a damaged checkpoint to a name that is none."""

    def of(self, iteration: int) -> str:
        """The address of an iteration's checkpoint, whether it is there or not."""
        return joined(self.place, name_of(iteration))

    def all(self) -> list[str]:
        """The addresses of those in place, oldest first, damaged ones among them."""
        return [joined(self.place, name) for name in self.names()]

    def whole(self, files: Collection[str] = ALL) -> Iterator[str]:
        """The addresses of those whose `files` are not damaged, newest first."""
        return (address for address in reversed(self.all()) if damage(address, files) is None)

    @contextmanager
    def latest(self) -> Iterator[tuple[Path | None, str | None]]:
        """The newest whole one as a folder, None where there is none; and what to tell of newer ones that are damaged.

        These are moved aside, so that they neither count among the newest nor are lost to a look at them.
        """
        self._clear_up()
        faults: list[str] = []
        with ExitStack() as stack:
            found = None
            for name in reversed(self.names()):
                try:
                    found = stack.enter_context(opened(joined(self.place, name)))
                    break
                except DamagedError as wrong:
                    faults.append(str(wrong))
                    self._set_aside(name)
            yield found, _passed_over(faults, found)

    def _outdated(self, names: list[str], best: int) -> list[str]:
        return [name for name in names[: -self.keep] if name != name_of(best)]


def _passed_over(faults: list[str], found: Path | None) -> str | None:
    if not faults:
        return None
    then = f"the trial goes on from {found.name}" if found else "no checkpoint is left, so the trial starts anew"
    return f"{'; '.join(faults)}; {then}"


class FolderCheckpoints(Checkpoints):
    """Checkpoints in a folder, local or on NFS."""

    @property
    def folder(self) -> Path:
        return Path(self.place)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("checkpoint_[0-9]*"))

    def write(self, files: Mapping[str, bytes], *, iteration: int, best: int) -> None:
        write(self.folder / WRITING, files)

    def add(self, *, iteration: int, best: int) -> None:
        place = self.folder / name_of(iteration)
        if place.exists():  # of an earlier attempt that came this far
            shutil.rmtree(place)
        (self.folder / WRITING).rename(place)
        for old in self._outdated(self.names(), best):
            shutil.rmtree(self.folder / old)

    def drop(self) -> None:
        shutil.rmtree(self.folder / WRITING, ignore_errors=True)

    def _clear_up(self) -> None:
        self.drop()

    def _set_aside(self, name: str) -> None:
        aside = self.folder / f"damaged_{name}"
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / name).rename(aside)


def refuse_taken(place: str) -> None:
    """Hold the place of a new study's checkpoints against what lies there.

    Raises:
        ValueError: it holds files, or cannot be written to.
    """
    if is_url(place):
        from trainers.checkpoint_store import is_free

        free = is_free(place)
    else:
        Path(place).mkdir(parents=True, exist_ok=True)
        free = not any(Path(place).iterdir())
    if not free:
        raise ValueError(
            f"a new study's checkpoints must have a place of their own, but {shown(place)} holds files; remove them, "
            "or choose another execution.checkpoints or another name"
        )


def checkpoints_at(place: str | Path, keep: int = KEEP) -> Checkpoints:
    """The checkpoints of the trial that keeps them in a folder or at a URL."""
    if not is_url(place):
        return FolderCheckpoints(place, keep)
    from trainers.checkpoint_store import StoredCheckpoints  # who has a folder needs no pyarrow

    return StoredCheckpoints(place, keep)


@contextmanager
def opened(address: str | Path, files: Collection[str] = ALL) -> Iterator[Path]:
    """A checkpoint as a folder with these files, checked: its own, or a copy that is gone afterwards.

    Raises:
        DamagedError: a file is not as it was written.
        UnreachableError: the store does not answer.
    """
    if is_url(address):
        from trainers.checkpoint_store import fetched

        with fetched(str(address), files) as folder:
            yield folder
        return
    if wrong := fault(Path(address), files):
        raise DamagedError(wrong)
    yield Path(address)


def damage(address: str | Path, files: Collection[str] = ALL) -> str | None:
    """What is wrong with these files of a checkpoint, naming the file; None where they are as they were written."""
    try:
        with opened(address, files):
            return None
    except DamagedError as wrong:
        return str(wrong)

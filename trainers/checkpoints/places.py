"""Where checkpoints lie: a trial's place, or one checkpoint's address, is a path or a URL."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

from trainers.addresses import is_url, parted, redacted
from trainers.checkpoints.base import ALL, KEEP, Checkpoints
from trainers.checkpoints.folder import FolderCheckpoints


def refuse_taken(place: str) -> None:
    """Hold the place of a new study's checkpoints against what lies there.

    Raises:
        ValueError: it holds files, or cannot be written to.
    """
    if is_url(place):
        from trainers.checkpoints.store import is_free

        free = is_free(place)
    else:
        Path(place).mkdir(parents=True, exist_ok=True)
        free = not any(Path(place).iterdir())
    if not free:
        raise ValueError(
            f"a new study's checkpoints must have a place of their own, but {redacted(place)} holds files; remove "
            "them, or choose another execution.checkpoints or another name"
        )


def checkpoints_at(place: str | Path, keep: int = KEEP) -> Checkpoints:
    """The checkpoints of the trial that keeps them in a folder or at a URL."""
    if not is_url(place):
        return FolderCheckpoints(place, keep)
    from trainers.checkpoints.store import StoredCheckpoints  # who has a folder needs no pyarrow

    return StoredCheckpoints(place, keep)


def opened(address: str | Path, files: Collection[str] = ALL) -> AbstractContextManager[Path]:
    """A checkpoint as a folder with these files, checked: its own, or a copy that is gone afterwards.

    Raises:
        DamagedError: a file is not as it was written.
        UnreachableError: the store does not answer.
    """
    parent, name = parted(address)
    return checkpoints_at(parent).open(name, files)


def damage(address: str | Path, files: Collection[str] = ALL) -> str | None:
    """What is wrong with these files of a checkpoint, naming the file; None where they are as they were written."""
    parent, name = parted(address)
    return checkpoints_at(parent).damage(name, files)

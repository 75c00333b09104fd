"""The files of a recording: their names, who is writing one, and what they take.

A recording's folder holds `key.json` and a folder per rank. In that, a chunk's name says which iterations it covers,
[start, stop), and which taps it has. A chunk that is being written has its planned end in its name, is as long as it is
to become, so that its space counts as taken, and is locked by its writer; the kernel drops the lock of a writer that
has died. What is found damaged is renamed.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

KEY = "key.json"
WHOLE, WRITING, DAMAGED = ".chunk", ".writing", ".damaged"
NAME = "[0-9a-f]" * 32
"""Of a recording's folder, as `key_hash` makes it; what lies beside recordings is none and must not be removed."""
REMOVED = ".removed"
"""Ends the name of a recording that is being removed."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The file of the taps of some iterations, as its name describes it.

    Attributes:
        path: of the file.
        start: first iteration.
        stop: one more than the last.
        taps: their names, sorted.
    """

    path: Path
    start: int
    stop: int
    taps: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """By its path; None where that is not the name of a whole chunk."""
        return cls._named(path, WHOLE)

    @classmethod
    def being_written(cls, path: Path) -> Self | None:
        """By its path, `stop` as planned; None where that is not the name of a chunk that is being written."""
        return cls._named(path, WRITING)

    @classmethod
    def _named(cls, path: Path, suffix: str) -> Self | None:
        with suppress(ValueError):
            iterations, taps, ending = path.name.split(".")
            start, stop = map(int, iterations.split("-"))
            if f".{ending}" == suffix and start < stop and taps:
                return cls(path=path, start=start, stop=stop, taps=tuple(map(unquote, taps.split("+"))))
        return None

    def covers(self, tap: str, iteration: int) -> bool:
        """Whether it has this tap at this iteration."""
        return tap in self.taps and self.start <= iteration < self.stop


def path_of(folder: Path, start: int, stop: int, taps: Collection[str], suffix: str) -> Path:
    """Where a rank's chunk of these iterations and taps lies, or is written."""
    names = "+".join(map(_quoted, sorted(taps)))
    return folder / f"{start:09d}-{stop:09d}.{names}{suffix}"


def _quoted(tap: str) -> str:
    """A tap's name without what divides a file's name: a network of one's own may name its taps by its modules."""
    return quote(tap, safe="").replace(".", "%2E")


def rank_folder(recording: Path, rank: int) -> Path:
    """The folder of a rank's chunks in a recording's folder."""
    return recording / f"rank{rank}"


def paths(folder: Path) -> list[Path]:
    """The files in a rank's folder; none where there is no folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries]
    return []


def stored(recording: Path) -> Iterator[Path]:
    """The files of all ranks of a recording."""
    for folder in sorted(recording.glob("rank*")):
        yield from paths(folder)


def size(folder: Path) -> int:
    """Bytes of all files below a folder; those being written count as what they are to become."""
    total = 0
    with suppress(FileNotFoundError):  # the folder, removed meanwhile
        for _, _, names, descriptor in os.fwalk(folder):
            for name in names:
                with suppress(FileNotFoundError):
                    total += os.lstat(name, dir_fd=descriptor).st_size
    return total


def recordings(folder: Path) -> list[Path]:
    """The folders of the recordings in a folder; none where there is no such folder."""
    # of one that is being removed the note may be gone before the rest
    return [*(note.parent for note in folder.glob(f"{NAME}/{KEY}")), *folder.glob(f"{NAME}.*{REMOVED}")]


def lock(descriptor: int) -> bool:
    """Lock an open file as long as it is open; False where another process, or another opening, has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_abandoned(path: Path) -> bool:
    """Whether nobody writes the file any more, which says that it is being written."""
    return _unlocked(path, remove=False)


def remove_abandoned(path: Path) -> bool:
    """Remove a file whose writer has died; False where it is alive, or the file is gone."""
    return _unlocked(path, remove=True)


def _unlocked(path: Path, *, remove: bool) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # gone, or somebody else's
        return False
    try:
        # a writer that has just made the file, and does not hold it yet, finds it locked or gone and gives up
        free = lock(descriptor) and is_at(descriptor, path)
        if free and remove:
            path.unlink(missing_ok=True)
    except OSError:  # files cannot be locked there
        return False
    else:
        return free
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still lies at a path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False

"""The recordings in a folder: what each is of, what it takes, and how to remove it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from trainers.teachers.recordings import files


@dataclass(frozen=True, kw_only=True)
class RecordingEntry:
    """One recording: all that was recorded under one key.

    Attributes:
        folder: of this recording alone.
        key: as of `recording_key`; empty where it cannot be read.
        bytes: of all its files, the damaged and unfinished ones too.
        chunks: number of whole chunks, of all ranks.
        iterations: number of iterations at which every rank has recorded the tap; by tap.
        last_used: seconds since the epoch when a trial last opened it.
        damaged: number of chunks that were found damaged and set aside.
        unfinished: number of chunks whose writer has died.
        writing: number of chunks that are being written now.
    """

    folder: Path
    key: Mapping[str, Any]
    bytes: int
    chunks: int
    iterations: Mapping[str, int]
    last_used: float
    damaged: int
    unfinished: int
    writing: int


def catalog(folder: Path | str) -> list[RecordingEntry]:
    """All recordings in a folder, the one used last first; none where there is no such folder."""
    found = []
    for recording in files.recordings(Path(folder)):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.append(_entry(recording))
    return sorted(found, key=lambda entry: entry.last_used, reverse=True)


def remove(entry: RecordingEntry) -> None:
    """Remove a recording. A trial that reads or writes it goes on with a live teacher.

    Raises:
        OSError: it is not this user's to remove.
    """
    removed = entry.folder.with_name(f"{entry.folder.name[:32]}.{uuid4().hex[:8]}{files.REMOVED}")
    with suppress(FileNotFoundError):
        entry.folder.rename(removed)  # so that nothing is written there meanwhile
    with suppress(FileNotFoundError):
        shutil.rmtree(removed)


def _entry(recording: Path) -> RecordingEntry:
    key = _key(recording / files.KEY)
    found = list(files.stored(recording))
    chunks = [chunk for path in found if (chunk := files.Chunk.of(path)) is not None]
    writing = [path for path in found if path.suffix == files.WRITING]
    dead = sum(files.is_abandoned(path) for path in writing)
    return RecordingEntry(
        folder=recording,
        key=key,
        bytes=files.size(recording),
        chunks=len(chunks),
        iterations=_covered(chunks, ranks=int(key.get("ranks", 1))),
        last_used=_last_used(recording),
        damaged=sum(path.suffix == files.DAMAGED for path in found),
        unfinished=dead,
        writing=len(writing) - dead,
    )


def _last_used(recording: Path) -> float:
    note = recording / files.KEY
    return (note if note.exists() else recording).stat().st_mtime


def _key(note: Path) -> Mapping[str, Any]:
    try:
        key = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return key if isinstance(key, dict) else {}


def _covered(chunks: Iterable[files.Chunk], *, ranks: int) -> dict[str, int]:
    """Number of iterations at which the chunks of all ranks have each tap."""
    by_rank: dict[tuple[str, str], set[int]] = {}
    for chunk in chunks:
        for tap in chunk.taps:
            by_rank.setdefault((tap, chunk.path.parent.name), set()).update(range(chunk.start, chunk.stop))
    covered: dict[str, int] = {}
    for tap in sorted({tap for tap, _ in by_rank}):
        sets = [iterations for (name, _), iterations in by_rank.items() if name == tap]
        covered[tap] = len(set.intersection(*sets)) if len(sets) >= ranks else 0
    return covered

"""The recordings in a folder: what each is of, what it takes, and how to remove it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.teachers.recordings import files

NAME = "[0-9a-f]" * 32
"""Of a recording's folder, as `key_hash` makes it; what lies beside recordings is none and must not be removed."""


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
    keys = Path(folder).glob(f"{NAME}/{files.KEY}")
    return sorted((_entry(key) for key in keys), key=lambda entry: entry.last_used, reverse=True)


def remove(entry: RecordingEntry) -> None:
    """Remove a recording. A trial that reads or writes it goes on with a live teacher."""
    shutil.rmtree(entry.folder, ignore_errors=True)


def _entry(note: Path) -> RecordingEntry:
    found = list(files.stored(note.parent))
    chunks = [chunk for path in found if (chunk := files.Chunk.of(path)) is not None]
    writing = [path for path in found if path.suffix == files.WRITING]
    dead = sum(files.is_abandoned(path) for path in writing)
    return RecordingEntry(
        folder=note.parent,
        key=_key(note),
        bytes=files.size(note.parent),
        chunks=len(chunks),
        iterations=_covered(chunks),
        last_used=note.stat().st_mtime,
        damaged=sum(path.suffix == files.DAMAGED for path in found),
        unfinished=dead,
        writing=len(writing) - dead,
    )


def _key(note: Path) -> Mapping[str, Any]:
    try:
        key = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return key if isinstance(key, dict) else {}


def _covered(chunks: Iterable[files.Chunk]) -> dict[str, int]:
    """Number of iterations that the chunks of all ranks have of each tap."""
    by_rank: dict[tuple[str, str], set[int]] = {}
    for chunk in chunks:
        for tap in chunk.taps:
            by_rank.setdefault((tap, chunk.path.parent.name), set()).update(range(chunk.start, chunk.stop))
    taps = sorted({tap for tap, _ in by_rank})
    return {
        tap: len(set.intersection(*(covered for (name, _), covered in by_rank.items() if name == tap))) for tap in taps
    }

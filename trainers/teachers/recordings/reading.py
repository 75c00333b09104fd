"""Reading ahead: a thread reads and checks what the next iterations need, while the training computes.

What is missing, damaged or evicted is no fault: there is nothing for that iteration, and the teacher is asked. A
damaged chunk is set aside under another name, so that it is written anew.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainers.models import Taps
from trainers.teachers.recordings import files
from trainers.teachers.recordings.chunks import ChunkReader, DamagedError
from trainers.teachers.recordings.files import Chunk
from trainers.teachers.recordings.index import ChunkIndex
from trainers.teachers.recordings.layout import Layout

AHEAD_BYTES, AHEAD = 64 * 2**20, 8
"""Most bytes that are read ahead, or one iteration where that has more; and most iterations."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The recorded taps of an iteration.

    Attributes:
        taps: packed values and their layout, by name.
        live_seconds: that the teacher took for such an iteration when it was recorded; 0 where that is not known.
    """

    taps: dict[str, tuple[Layout, Tensor]]
    live_seconds: float

    @property
    def bytes(self) -> int:
        return sum(layout.bytes for layout, _ in self.taps.values())

    def on(self, device: torch.device) -> Taps:
        """The taps as the teacher gave them."""
        return {
            name: layout.unpacked(values.to(device, non_blocking=True)) for name, (layout, values) in self.taps.items()
        }


class ReadAhead:
    """The recorded taps of one iteration after the other.

    Args:
        folder: of the rank.
        wanted: the taps that are needed at an iteration; called from another thread.
        start: the first iteration.
        stop: one more than the last.
        pinned: whether the values are read into pinned memory, from which a GPU copies while it computes.
    """

    def __init__(
        self, folder: Path, wanted: Callable[[int], Collection[str]], *, start: int, stop: int, pinned: bool
    ) -> None:
        self._wanted, self._next, self._stop, self._pinned = wanted, start, stop, pinned
        self._index = ChunkIndex(folder)
        self._open: dict[Path, ChunkReader] = {}
        self._ahead: deque[Future[Reading | None]] = deque()
        self._bytes = AHEAD_BYTES  # until an iteration's are known, one is read at a time
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher-reading")
        self.damaged: deque[str] = deque()
        """A message about each chunk that was found damaged, to be taken from the left."""

    def take(self) -> tuple[Reading | None, float]:
        """What is recorded of the next iteration, and the seconds that it was waited for; None where not all is."""
        self._fill()
        began = time.perf_counter()
        reading = self._ahead.popleft().result()
        waited = time.perf_counter() - began
        if reading is not None and reading.taps:
            self._bytes = reading.bytes
        self._fill()
        return reading, waited

    def _fill(self) -> None:
        most = max(1, min(AHEAD, AHEAD_BYTES // max(1, self._bytes)))
        while self._next < self._stop and len(self._ahead) < most:
            self._ahead.append(self._reader.submit(self._read, self._next))
            self._next += 1

    def _read(self, iteration: int) -> Reading | None:
        """In the reading thread."""
        taps: dict[str, tuple[Layout, Tensor]] = {}
        live_seconds = 0.0
        for tap in self._wanted(iteration):
            found = self._tap(tap, iteration)
            if found is None:
                return None
            taps[tap], live_seconds = found
        return Reading(taps=taps, live_seconds=live_seconds)

    def _tap(self, tap: str, iteration: int) -> tuple[tuple[Layout, Tensor], float] | None:
        while (chunk := self._chunk(tap, iteration)) is not None:
            try:
                reader = self._opened(chunk, iteration)
                header = reader.header
                return (header.layouts[tap], reader.read(iteration, tap)), header.live_seconds
            except DamagedError as error:
                self._set_aside(chunk, error)
            except OSError:  # evicted, or not to be read
                self._index.leave_out(chunk)
        return None

    def _chunk(self, tap: str, iteration: int) -> Chunk | None:
        """One that was seen before, or has appeared since."""
        if (chunk := self._index.find(tap, iteration)) is not None:
            return chunk
        self._index.look()
        return self._index.find(tap, iteration)

    def _opened(self, chunk: Chunk, iteration: int) -> ChunkReader:
        if chunk.path not in self._open:
            self._close([path for path, reader in self._open.items() if reader.chunk.stop <= iteration])
            self._open[chunk.path] = ChunkReader(chunk, pinned=self._pinned)
        return self._open[chunk.path]

    def _set_aside(self, chunk: Chunk, error: DamagedError) -> None:
        self._close([chunk.path] if chunk.path in self._open else [])
        self._index.leave_out(chunk)
        with suppress(OSError):
            chunk.path.rename(chunk.path.with_suffix(files.DAMAGED))
        self.damaged.append(
            f"a recording of the teacher's outputs must be as it was written, but {chunk.path} is not: {error}; it is "
            "set aside, and the teacher computes these iterations again"
        )

    def _close(self, paths: Collection[Path]) -> None:
        for path in paths:
            self._open.pop(path).close()

    def close(self) -> None:
        """End the thread and close the files."""
        self._reader.shutdown(cancel_futures=True)
        self._close(list(self._open))

"""Recording: what the teacher has just computed goes to a chunk's file, by a thread beside the training.

Nothing here fails a trial or makes it wait. A chunk that another trial is writing is left to that; where the disk is
full, the quota used up or a folder not writable, recording stops for this trial, and it says so once.
"""

import errno
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from trainers.models import Taps
from trainers.teachers.recordings import files
from trainers.teachers.recordings.chunks import ChunkWriter, Header
from trainers.teachers.recordings.index import ChunkIndex
from trainers.teachers.recordings.layout import Layout
from trainers.teachers.recordings.plan import RecordingPlan
from trainers.teachers.recordings.spans import Span

WAITING_BYTES = 64 * 2**20
"""Most bytes that wait to be written; where an iteration has more, one does."""
KEPT_FREE = 2 * 2**30
"""Bytes of the disk that are left to checkpoints, which must not fail for a recording's sake."""


@dataclass(kw_only=True)
class _Begun:
    """A chunk that is being written."""

    writer: ChunkWriter
    header: Header
    next: int
    """The iteration that follows the last one added."""
    stop: int
    spans: list[Span] = field(default_factory=list)
    discarded: bool = False


class Recorder:
    """Writes the chunks of a rank.

    Args:
        plan: what is recorded.
        folder: of the rank; it exists.
        boundary: the iteration before which a chunk that holds a given one ends: an evaluation, or the training's end.
    """

    def __init__(self, plan: RecordingPlan, folder: Path, boundary: Callable[[int], int]) -> None:
        self._plan, self._folder, self._boundary = plan, folder, boundary
        self._index = ChunkIndex(folder)
        self._begun: _Begun | None = None
        self._resume_at = 0
        self._stopped = plan.max_bytes == 0
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher-recording")
        self.faults: deque[str] = deque()
        """Why recording stopped, to be taken from the left."""

    def wanted(self, iteration: int) -> frozenset[str]:
        """The taps to `add` at an iteration at which the teacher computes."""
        begun = self._begun
        if begun is not None and (self._stopped or not begun.next == iteration < begun.stop):
            self.end()
        if self._begun is not None:
            return frozenset(self._begun.header.layouts)
        if self._stopped or iteration < self._resume_at:
            return frozenset()
        missing = self._index.unrecorded(self._plan.taps_at(iteration), iteration)
        if not missing:
            self._pause(iteration)
        return missing

    def _pause(self, iteration: int) -> None:
        """Look for work again where a chunk begins next."""
        self._resume_at = self._boundary(iteration)

    def add(self, iteration: int, taps: Taps, span: Span) -> None:
        """Record the taps of an iteration.

        Args:
            iteration: for which the `taps` were wanted.
            taps: those that were, on any device; not changed hereafter.
            span: in which the teacher computed them.
        """
        if not taps or self._stopped:
            return
        if self._begun is None:
            try:
                self._begun = self._begin(iteration, taps)
            except OSError as error:
                self._fail(error)
        if self._begun is None:
            return
        if self._is_behind(self._begun.header.record):
            self.end()
            self._pause(iteration)
            return
        self._begun.spans.append(span)
        self._begun.next = iteration + 1
        packed, copied = _on_host(taps, self._begun.header)
        written = self._writer.submit(self._write, self._begun, iteration, packed, copied)
        self._waiting.append((written, self._begun.header.record))
        if self._begun.next == self._begun.stop:
            self.end()  # an evaluation may follow, which takes long, and others wait to read it

    def _is_behind(self, record: int) -> bool:
        """Whether the disk is so slow that too much waits."""
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()
        return bool(self._waiting) and record + sum(size for _, size in self._waiting) > WAITING_BYTES

    def _begin(self, iteration: int, taps: Taps) -> _Begun | None:
        header = Header(layouts={name: Layout.of(taps[name]) for name in sorted(taps)})
        stop = self._planned_stop(iteration, header)
        if stop == iteration:
            self._stop(
                f"recordings of teachers' outputs must stay within {self._plan.max_bytes / 2**30:.2f} GiB, but those "
                f"in {self._plan.folder} leave no space for more; remove some, or allow more"
            )
            return None
        writer = self._claimed(iteration, stop, header)
        return None if writer is None else _Begun(writer=writer, header=header, next=iteration, stop=stop)

    def _planned_stop(self, iteration: int, header: Header) -> int:
        """Where a chunk ends that begins here; here where the quota has no space for it."""
        boundary = self._boundary(iteration)
        changes = self._plan.next_change(iteration)
        return min(boundary, changes or boundary, iteration + self._fitting(header))

    def _claimed(self, start: int, stop: int, header: Header) -> ChunkWriter | None:
        """The file of a chunk; None where it is another's, or cannot be."""
        try:
            writer = ChunkWriter(self._folder, start=start, stop=stop, header=header)
        except FileExistsError:
            self._pause(start)
            return None
        except OSError as error:
            self._fail(error)
            return None
        if self._free_bytes() < 0:  # others have begun at the same moment
            writer.discard()
            self._pause(start)
            return None
        return writer

    def _fitting(self, header: Header) -> int:
        """Iterations for which the quota has space."""
        return max(0, (self._free_bytes() - header.size(0)) // header.record)

    def _free_bytes(self) -> int:
        """What the quota leaves, and this machine's disk; below 0 where the quota is exceeded."""
        left = self._plan.max_bytes - sum(map(files.size, files.recordings(Path(self._plan.folder))))
        # the planned size of a chunk is not taken from the disk before it is written
        return min(left, max(0, shutil.disk_usage(self._plan.folder).free - KEPT_FREE))

    def _write(
        self, begun: _Begun, iteration: int, packed: dict[str, Tensor], copied: "torch.cuda.Event | None"
    ) -> None:
        """In the writing thread."""
        if begun.discarded:
            return
        try:
            if copied is not None:
                copied.synchronize()
            begun.writer.write(iteration, packed)
        except OSError as error:
            self._discard(begun, error)

    def end(self) -> None:
        """End the chunk that is being written with the last iteration added."""
        begun, self._begun = self._begun, None
        if begun is not None:
            self._writer.submit(self._finish, begun)

    def _finish(self, begun: _Begun) -> None:
        """In the writing thread."""
        if begun.discarded:
            return
        try:
            if not begun.spans:  # the disk was behind before its first iteration
                begun.writer.discard()
                return
            begun.writer.finish(begun.next, fmean(span.seconds() for span in begun.spans))
        except OSError as error:
            self._discard(begun, error)

    def _discard(self, begun: _Begun, error: OSError) -> None:
        begun.discarded = True
        self._fail(error)
        begun.writer.discard()

    def _fail(self, error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some" if full else "see to the folder"
        self._stop(
            f"recording the teacher's outputs needs a disk that takes them, but {self._folder} does not: "
            f"{error.strerror or error}; {remedy}"
        )

    def stop(self) -> None:
        """Record no more."""
        self._stopped = True

    def _stop(self, message: str) -> None:
        if not self._stopped:
            self.stop()
            self.faults.append(f"{message}. The training goes on, and records no more")

    def close(self) -> None:
        """End the chunk, and wait until it is written."""
        self.end()
        self._writer.shutdown()


def _on_host(taps: Taps, header: Header) -> "tuple[dict[str, Tensor], torch.cuda.Event | None]":
    """Packed values on the CPU, and what to wait for before they are there."""
    packed = {name: layout.packed(taps[name]) for name, layout in header.layouts.items()}
    device = next(iter(packed.values())).device
    if device.type != "cuda":
        return packed, None
    copies = {
        name: torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
        for name, values in packed.items()
    }
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(device))
    return copies, copied

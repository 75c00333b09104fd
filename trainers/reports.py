"""Reports in order, each as soon as its checkpoint is written, while the training already continues.

And when a checkpoint between two of them is due, which is written likewise and not reported.

A second thread only writes files, from bytes that were serialised before. Reports are made from the thread that trains,
because Ray ends a stopped trial inside a report.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from trainers.checkpoints.interval import Interval
from trainers.checkpoints.requests import Request
from trainers.context import Metrics, TrialContext
from trainers.distributed.ranks import from_first

AGREED_EVERY = 10
"""Steps between those at which several ranks report what waits: a report of one waits for the others.

Also between those at which several GPUs agree on a checkpoint, because they wait for their devices then.
"""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    metrics: Metrics | None
    """None for a checkpoint between evaluations."""
    written: Future[None] | None


class Reports:
    """Hands evaluations over to a context; one at most waits for its checkpoint.

    To be used as a context manager: its end waits for the last report, or drops it where the training failed.
    """

    def __init__(self, context: TrialContext) -> None:
        self._context = context
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._waiting: _Waiting | None = None

    def begin(self, metrics: Metrics, files: Mapping[str, bytes] | None) -> None:
        """Report an evaluation as soon as its checkpoint of `files`, None on all ranks but the first, is written."""
        self.finish()
        written = None if files is None else self._writer.submit(self._context.write, dict(metrics), files)
        self._waiting = _Waiting(metrics=dict(metrics), written=written)

    def keep(self, iteration: int, files: Mapping[str, bytes] | None) -> None:
        """Write a checkpoint between evaluations; `files` as for `begin`."""
        self.finish()
        written = None if files is None else self._writer.submit(self._context.write_interim, iteration, files)
        self._waiting = _Waiting(metrics=None, written=written)

    def advance(self, iteration: int) -> None:
        """After each step: report what waits, if it is time."""
        if iteration % AGREED_EVERY == 0 or (self._context.world_size == 1 and self._written()):
            self.finish()

    def _written(self) -> bool:
        return self._waiting is not None and self._waiting.written is not None and self._waiting.written.done()

    def finish(self) -> None:
        """Report what waits; raises what kept its checkpoint from being written."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if waiting.written is not None:
            waiting.written.result()
        if waiting.metrics is not None:
            self._context.report(waiting.metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._writer.shutdown()
            if self._waiting is not None and self._waiting.written is not None:
                self._context.drop()


class Interims:
    """When a checkpoint between two evaluations is due.

    Args:
        context: of this rank.
        interval: since the last checkpoint, or from one to the next.
        clock: seconds.
    """

    def __init__(self, context: TrialContext, interval: Interval, clock: Callable[[], float] = time.monotonic) -> None:
        self._context, self._interval, self._clock = context, interval, clock
        self._last = clock()
        # GPUs would wait for the host, and the host for them, at every step
        self._agreed_every = AGREED_EVERY if context.world_size > 1 and context.device.type == "cuda" else 1

    def restart(self) -> None:
        """A checkpoint was left."""
        self._last = self._clock()

    def due(self, iteration: int) -> Request:
        """Whether a checkpoint is due after this step, and an end then: the same on all ranks, which all ask."""
        counted = self._interval.iterations is not None and iteration % self._interval.iterations == 0
        wanted = Request.CHECKPOINT if counted else Request.NONE
        if iteration % self._agreed_every:
            return wanted
        return max(wanted, Request(from_first(self._asked(), self._context.device)))

    def _asked(self) -> Request:
        """By rank 0's clock, or from outside."""
        if self._context.rank:
            return Request.NONE
        timed = self._interval.seconds is not None and self._clock() - self._last >= self._interval.seconds
        return max(Request.CHECKPOINT if timed else Request.NONE, self._context.requested())

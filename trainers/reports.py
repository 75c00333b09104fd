"""Reports in order, each as soon as its checkpoint is written, while the training already continues.

A second thread only writes files, from bytes that were serialised before. Reports are made from the thread that trains,
because Ray ends a stopped trial inside a report.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from trainers.context import Metrics, TrialContext

AGREED_EVERY = 10
"""Steps between those at which several ranks report what waits: a report of one waits for the others."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    metrics: Metrics
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

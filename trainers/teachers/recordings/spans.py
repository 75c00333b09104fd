"""How long a piece of work took on its device, without waiting for it."""

import time
from types import TracebackType
from typing import Any, Self

import torch


class Span:
    """To be used as a context manager around the work.

    Args:
        device: that works.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Any] = []

    def __enter__(self) -> Self:
        self._mark()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mark()

    def _mark(self) -> None:
        if self._device.type != "cuda":
            self._marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._marks.append(event)

    def seconds(self) -> float:
        """From its beginning to its end; waits for a GPU to come there."""
        begin, end = self._marks
        if self._device.type != "cuda":
            return float(end - begin)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000

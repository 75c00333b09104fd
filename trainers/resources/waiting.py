"""How long a loop waits for what its loaders make, and how many of them would keep it from waiting."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

TOLERATED = 0.2
"""Share of a step's time that a GPU may wait before it is said."""


class Waiting:
    """Seconds that a loop waits for its items.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds, self._items = 0.0, 0
        self._said = False

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """The items, whose making is timed, but for the first one's, which waits for the loaders to start."""
        began: float | None = None
        for item in items:
            self._seconds += 0.0 if began is None else self._clock() - began
            self._items += 1
            yield item
            began = self._clock()

    def drain(self) -> float:
        """Milliseconds an item since the last call."""
        mean = 1000 * self._seconds / max(self._items, 1)
        self._seconds, self._items = 0.0, 0
        return mean

    def lack(self, loaders: int, *, step_ms: float, waiting_ms: float) -> str | None:
        """As `lack_of_loaders`, but once."""
        found = None if self._said else lack_of_loaders(loaders, step_ms=step_ms, waiting_ms=waiting_ms)
        self._said |= found is not None
        return found


def lack_of_loaders(loaders: int, *, step_ms: float, waiting_ms: float) -> str | None:
    """What to do about steps that wait for their images; None where they wait for little of their time.

    Args:
        loaders: processes that make images; 0 where the loop makes them itself.
        step_ms: of a step, waiting included.
        waiting_ms: of that.
    """
    if waiting_ms <= TOLERATED * step_ms:
        return None
    computing_ms = max(step_ms - waiting_ms, 1e-3)
    wanted = math.ceil((step_ms * loaders if loaders else waiting_ms) / computing_ms)
    return (
        f"a step should not wait for images, but waits {waiting_ms:.0f} of {step_ms:.0f} ms for {loaders} loader "
        f"processes; set execution.loader_workers to {wanted}, with as many CPUs per worker, keep decoded images, or "
        "set augment.version=2"
    )

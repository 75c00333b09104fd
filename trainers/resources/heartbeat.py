"""Periodic calls in a background thread, for the duration of a `with` block."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beating(act: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call `act` from another thread, immediately and then periodically.

    Args:
        act: must not raise.
        every_s: seconds between two calls.
    """
    ended = threading.Event()

    def beat() -> None:
        act()
        while not ended.wait(every_s):
            act()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

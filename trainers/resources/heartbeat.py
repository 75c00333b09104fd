"""Something done again and again beside other work, until that has ended."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beating(act: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call `act` at once, and again each time so many seconds have passed, from another thread.

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

"""`kdstudy`, also `python -m study`: whatever moment a signal comes at, it ends in a line and exit code 1.

To import what a command needs takes seconds, and an exception that a signal raises there may be lost in a library. So
until then a signal ends the process at once, when there is nothing to clean up yet; from then on it interrupts the
command, as Ctrl-C does.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    with _handling():
        from study.command_line import run

        return run(sys.argv[1:] if arguments is None else arguments, lambda: _handle(_interrupt))


@contextmanager
def _handling() -> Iterator[None]:
    """Handle signals; whoever calls this from a thread, or from Python, has its own handlers again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    _handle(_end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: "signal._HANDLER") -> None:
    if threading.current_thread() is threading.main_thread():
        for number in HANDLED:
            signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"kdstudy: stopped\n")
    os._exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())

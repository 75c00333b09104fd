"""Ends a driver whose Ray has lost its control process, before Ray's own code does, without a word, after a minute.

It acts on the death of that process, never on silence: a driver that was stopped and continued finds it alive.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

GCS = "gcs_server"
"""The name of Ray's control process; it is a child of the driver that started the cluster."""
LOOK_EVERY_S = 0.5


@contextmanager
def watching(advice: str) -> Iterator[None]:
    """Watch the cluster that this process has started.

    Args:
        advice: how to go on, for the line that is written where the control process has died.
    """
    found = next((child for child in psutil.Process().children() if _name(child) == GCS), None)
    if found is None:  # another Ray than the pinned one, or a cluster of others
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(found, done, advice), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if not _alive(found):  # it died between two looks: Ray could not be shut down in order either
            end(advice)


def _watch(process: psutil.Process, done: threading.Event, advice: str) -> None:
    while not done.wait(LOOK_EVERY_S):
        if not _alive(process):
            end(advice)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(advice: str) -> None:
    """End this process and all that it has started, as a kill would; the study's files stand that.

    The main thread waits inside Ray and cannot end anything in order. It may go on for a moment, as Ray's other
    processes end, but nothing that it still writes comes after the line.
    """
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    line = f"{show_cursor}\nkdstudy: Ray's control process ({GCS}) has ended; nothing is lost: {advice}\n"
    if (own := sys.__stderr__) is not None and sys.stderr is own:
        kept = os.dup(own.fileno())
        os.dup2(os.open(os.devnull, os.O_WRONLY), own.fileno())
        os.write(kept, line.encode())
    else:  # a notebook's
        sys.stderr.write(line)
        sys.stderr.flush()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)


def _name(process: psutil.Process) -> str:
    try:
        return process.name() or Path(process.exe()).name
    except psutil.Error:
        return ""

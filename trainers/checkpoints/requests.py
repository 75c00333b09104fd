"""What a trial is asked to do while it trains, through a file: leave a checkpoint now, and stop then, or go on.

A signal would not do: the training may run on another machine, and off the main thread, where Python has no handlers.
The file is there from the beginning and is written in place, because NFS looks at a file that it knows whenever it is
opened, and at a folder for new files only now and then.
"""

import time
from enum import IntEnum
from pathlib import Path


class Request(IntEnum):
    """What is asked for; the larger one comes first."""

    NONE = 0
    CHECKPOINT = 1
    STOP = 2


class Requests:
    """One side's view of the file at `path`: of who asks, or of a trial, which sees each request once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = ""

    def ask(self, request: Request) -> None:
        """Ask for something, in the place of what was asked for before."""
        self._path.write_text(f"{request.name} {time.time_ns()}\n")

    def look(self) -> Request:
        """What was asked for since the last look."""
        try:
            found = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return Request.NONE
        if found == self._seen or not found.endswith("\n"):  # it is being written
            return Request.NONE
        self._seen = found
        return Request.__members__.get(found.partition(" ")[0], Request.NONE)  # a damaged one asks for nothing

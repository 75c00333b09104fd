"""What running trials print, shown while they run: for `--verbose`."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from trainers.resources.output import log_files

LOOK_S = 0.5
"""Seconds between two looks."""
LOOK_BYTES = 256_000
"""Of a file, that one look shows at most; the next one goes on from there."""


class PrintedLines:
    """Shows new lines of the log files of trials that run, wherever their processes are.

    Args:
        say: shows a line to the user.
        clock: seconds; files are looked at every LOOK_S of it.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock, self._looked = say, clock, clock()
        self._followed: dict[str, Path] = {}
        self._shown: dict[Path, int] = {}

    def follow(self, name: str, folder: Path) -> None:
        """Show what a trial prints from now on."""
        if name not in self._followed:
            self._followed[name] = folder
            with suppress(OSError):
                self._shown |= {file: file.stat().st_size for file in log_files(folder).values()}

    def look(self) -> None:
        """Show what is new, where it is time for it."""
        if self._clock() - self._looked >= LOOK_S:
            self._looked = self._clock()
            for name in self._followed:
                self._show(name)

    def end(self, name: str) -> None:
        """Show what a trial printed last, and no more of it."""
        if name in self._followed:
            self._show(name)
            del self._followed[name]

    def _show(self, name: str) -> None:
        with suppress(OSError):  # a disk out of reach, which others name
            self._show_new(name)

    def _show_new(self, name: str) -> None:
        for rank, file in log_files(self._followed[name]).items():
            for line in self._new_lines(file):
                self._say(f"{name}{rank and ' ' + rank} | {line}")

    def _new_lines(self, file: Path) -> Iterator[str]:
        shown = self._shown.get(file, 0)
        if file.stat().st_size < shown:  # its older half was cut, and nobody knows how much of the rest is new
            shown = file.stat().st_size
        with file.open("rb") as opened:
            opened.seek(shown)
            new = opened.read(LOOK_BYTES)
        whole = new[: new.rfind(b"\n") + 1] if len(new) < LOOK_BYTES else new
        self._shown[file] = shown + len(whole)
        yield from whole.decode(errors="replace").splitlines()

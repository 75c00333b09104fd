"""What a trial's process prints, kept in a file beside the trial: standard output and standard error, bounded in size.

Python's own streams are copied: `print`, warnings, logging, also those of processes that it forks. What a library in C
writes past them is not, but the Python stack of a process that dies in such a library is.
"""

import faulthandler
import io
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

LIMIT_BYTES = 1_000_000
"""Of a file; a longer one loses its older half."""
TAIL_BYTES = 64_000
"""Of a file's end, in which its last lines are looked for."""
CUT = "[what was printed before was cut: this file is kept below a megabyte]\n"


def log_file(folder: Path, rank: int = 0) -> Path:
    """Where a rank of the trial in `folder` keeps what it prints; one each, because appending is not safe on NFS."""
    return folder / ("log.txt" if rank == 0 else f"log-rank{rank}.txt")


def log_files(folder: Path) -> Mapping[str, Path]:
    """Those that are there, by what they are to be called: `` for rank 0, `rank 1` and so on for others."""
    others = sorted(folder.glob("log-rank*.txt"), key=lambda path: (len(path.name), path.name))
    named = {"": log_file(folder), **{f"rank {path.stem.removeprefix('log-rank')}": path for path in others}}
    return {name: path for name, path in named.items() if path.exists()}


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a file, as far as its last TAIL_BYTES have them."""
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, io.SEEK_END) - TAIL_BYTES))
        return opened.read().decode(errors="replace").splitlines()[-count:]


@contextmanager
def kept_output(file: Path) -> Iterator[None]:
    """Append what this process prints to a file, which is not there where nothing was printed.

    Args:
        file: in a folder that exists. A disk that takes no more loses the output and ends nothing.
    """
    try:
        log = _Log(file)
    except OSError:
        yield
        return
    out, err = (cast(TextIO, _Copied(stream, log)) for stream in (sys.stdout, sys.stderr))
    # warnings that an earlier trial of this process gave are given again
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(), log.crashes_noted():
            yield
    finally:
        log.close()


class _Log:
    """A file that grows to LIMIT_BYTES and about one print more.

    Every write is one call that appends, so forked processes share it; only the one that opened it cuts it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._owner, self._begun = os.getpid(), False

    def write(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            when = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
            text = f"[process {os.getpid()} on {socket.gethostname()}, from {when}]\n{text}"
        with suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
            size = os.fstat(self._descriptor).st_size
            if size > LIMIT_BYTES and os.getpid() == self._owner:
                self._cut(size)

    def _cut(self, size: int) -> None:
        kept = os.pread(self._descriptor, LIMIT_BYTES // 2, size - LIMIT_BYTES // 2).partition(b"\n")[2]
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, CUT.encode() + kept)

    @contextmanager
    def crashes_noted(self) -> Iterator[None]:
        """Have Python write its stack here, too late for anything else, where a signal ends the process."""
        before = faulthandler.is_enabled()
        faulthandler.enable(self._descriptor, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
            if before:
                with suppress(OSError, ValueError, RuntimeError):  # a program may run without any such stream
                    faulthandler.enable(sys.__stderr__, all_threads=False)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close it, and take it away where nothing is in it."""
        with suppress(OSError):
            if os.fstat(self._descriptor).st_size == 0:
                self._file.unlink()
            os.close(self._descriptor)
        self._descriptor = -1  # whoever kept a stream of ours must not write to the next file of this number


class _Copied:
    """A stream whose text also goes to a log."""

    def __init__(self, stream: TextIO, log: _Log) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        if text:
            self._log.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

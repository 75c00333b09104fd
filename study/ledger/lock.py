"""One driver per study: an advisory lock on a file in the study's folder, which dies with its process.

The kernel holds the lock, so on one machine neither a dead driver nor a process that has its number by now keeps it.
Between machines that share a folder a lock may not reach from one to the other. So the file names who holds it, a
holder touches it every few seconds and empties it at the end, and a name from another machine keeps its lock until it
has not been touched for a while.
"""

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from trainers.resources.heartbeat import beating

LOCK = "study.lock"
BEAT_S = 10.0
STALE_S = 60.0
"""Seconds without a touch after which a holder on another machine is taken for dead."""
SECOND_BEAT_S = 2.5 * BEAT_S
"""Seconds within which a holder whose last touch lies in the future, by a wrong clock, must touch the lock again."""


class Holder(NamedTuple):
    """Who drives a study; "an unknown" of either where the file does not say."""

    pid: object
    host: object


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the study's lock.

    Raises:
        ValueError: where another driver holds it; names its host and process. Or where files cannot be locked.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _await_holder(file)
            raise ValueError(
                f"{_driven(folder, holder or Holder('unknown', 'an unknown host'))}; wait for it or stop it with Ctrl-C"
            ) from None
        except OSError as error:
            raise ValueError(
                f"a study's folder must be where files can be locked, on a local disk or NFS, but {folder} is not: "
                f"{error}; use another --out"
            ) from None
        _refuse_distant(folder, file)
        _write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        try:
            with beating(lambda: _touch(file), every_s=BEAT_S):
                yield
        finally:
            _write(file, "")


def driver_of(folder: Path) -> Holder | None:
    """Who drives a study now, for a reader beside the driver, which takes no lock; None where nobody does."""
    try:
        with (folder / LOCK).open() as file:
            holder, touched = _holder(file), os.fstat(file.fileno()).st_mtime
    except OSError:  # it has never been driven
        return None
    if holder is None:
        return None
    alive = _runs_since(holder.pid, touched) if holder.host == socket.gethostname() else time.time() - touched < STALE_S
    return holder if alive else None


def _runs_since(pid: object, touched: float) -> bool:
    """Whether a process of this machine runs that is the one which touched the lock, and none that has its number."""
    try:
        return psutil.Process(int(str(pid))).create_time() <= touched + 1  # in which both are rounded
    except (psutil.Error, ValueError):
        return False


def _driven(folder: Path, holder: Holder) -> str:
    return f"a study has one driver at a time, but {folder} is driven by process {holder.pid} on {holder.host}"


def _refuse_distant(folder: Path, file: IO[str]) -> None:
    """Raise ValueError where a driver on another machine, which our lock may not reach, was alive a moment ago."""
    holder = _holder(file)
    if holder is None or holder.host == socket.gethostname():
        return
    with tempfile.TemporaryFile(dir=folder) as now:  # by the clock of the file system, not of either machine
        age = os.fstat(now.fileno()).st_mtime - os.fstat(file.fileno()).st_mtime
    if age < 0:
        if not _touched_again(file):
            return
        age = 0.0
    if age < STALE_S:
        raise ValueError(
            f"{_driven(folder, holder)}, which was alive {age:.0f} s ago; stop it, or if that machine is gone, "
            f"try again in {STALE_S - age:.0f} s"
        )


def _touched_again(file: IO[str]) -> bool:
    before, until = os.fstat(file.fileno()).st_mtime_ns, time.monotonic() + SECOND_BEAT_S
    while time.monotonic() < until:
        if os.fstat(file.fileno()).st_mtime_ns != before:
            return True
        time.sleep(0.05)
    return False


def _await_holder(file: IO[str]) -> Holder | None:
    """Who holds the lock; one that has just got it may not have written its name yet."""
    for _ in range(50):
        if holder := _holder(file):
            return holder
        time.sleep(0.02)
    return None


def _holder(file: IO[str]) -> Holder | None:
    file.seek(0)
    try:
        named = json.loads(file.read())
        return Holder(named["pid"], named["host"])
    except (ValueError, KeyError, TypeError):
        return None


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


def _touch(file: IO[str]) -> None:
    with suppress(OSError):  # a network's folder may be away for a moment
        os.utime(file.fileno())

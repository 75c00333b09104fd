"""Where a driver's own Ray keeps its files: a short folder of its own, and the end of what dead drivers left.

Ray's sockets lie below that folder, and a socket's path has at most 107 bytes, on macOS 103. After a driver that was
killed its folder stays, and two idle agents of Ray stay for a minute. The folder has a file that its driver keeps
locked, which the kernel unlocks at its death; so the next driver of the same user, on this machine, knows what to
remove.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PREFIX = "kd"
OWNER = "owner"
"""In each folder: locked as long as its driver lives."""
LONGEST = 30 if sys.platform == "darwin" else 34
"""Characters that the path of the folder's parent has at most: Ray adds the rest of a socket's path."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


@contextmanager
def scratch_folder(say: Callable[[str], None]) -> Iterator[Path]:
    """A folder for Ray, gone afterwards; first what dead drivers of this user left there is removed.

    Args:
        say: shows a line to the user.

    Raises:
        ValueError: nowhere is a folder whose path is short enough.
    """
    parent = _parent(say)
    for left in parent.glob(f"{PREFIX}*"):
        remove_if_dead(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # a lock of this kind is not inherited by processes that are forked, which may outlive the driver
    with (folder / OWNER).open("w") as owner:
        fcntl.lockf(owner, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _parent(say: Callable[[str], None]) -> Path:
    given = tempfile.gettempdir()
    if len(given) <= LONGEST:
        return Path(given)
    for place in SHORT:
        if os.access(place, os.W_OK | os.X_OK):
            say(f"Ray keeps its files in {place}: TMPDIR, of {len(given)} characters, is too long for its sockets")
            return Path(place)
    raise ValueError(
        f"TMPDIR must have at most {LONGEST} characters, for Ray's sockets lie below it, but {given} has {len(given)}; "
        "set it to a shorter path that you may write to"
    )


def remove_if_dead(folder: Path) -> bool:
    """Remove a driver's folder, and end what still runs in it, where that driver is dead; whether it was."""
    try:
        if folder.stat().st_uid != os.getuid():
            return False
        with (folder / OWNER).open("r+") as owner:
            fcntl.lockf(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # no folder of a driver, or of one that lives
        return False
    return True


def _end_processes(folder: Path) -> None:
    """End processes of this user whose command line names a folder's files."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid() and any(f"{folder}/" in part for part in process.cmdline()):
                process.kill()

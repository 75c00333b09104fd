"""One driver per study: an advisory lock on a file in the study's folder, which dies with its process."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "study.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the study's lock.

    Raises:
        ValueError: where another driver holds it; names its host and process.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = json.loads(file.read() or "{}")
            raise ValueError(
                f"a study has one driver at a time, but {folder} is driven by process {holder.get('pid')} on "
                f"{holder.get('host')}; wait for it or stop it with Ctrl-C"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield

"""A disk of its own for a test, to be filled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILLER = "filler"


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A disk of 256 MiB, mounted at `place`; None where that is not allowed: only root may."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, *, leave: int) -> None:
    """Take all space of a disk but so many bytes, whoever else writes to it meanwhile."""
    with (place / FILLER).open("wb") as file:
        while True:
            space = os.statvfs(place)
            wanted = space.f_bavail * space.f_bsize - leave
            if wanted <= 0:
                return
            with suppress(OSError):  # others have taken some of it meanwhile
                os.posix_fallocate(file.fileno(), 0, wanted)
                return

"""The lock of a study: held by one living process, free once that process is dead, however it died."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from study.lock import locked

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from study.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_driver_is_refused_and_told_who_has_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(ValueError) as caught, locked(tmp_path):
            pass
        assert f"driven by process {first.pid} on {socket.gethostname()}" in str(caught.value)
        assert "Ctrl-C" in str(caught.value)
        first.communicate("")
    with locked(tmp_path):
        pass


def test_the_lock_of_a_killed_driver_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.kill()
    with locked(tmp_path):
        # and the new holder is the one that is named
        assert f'"pid": {os.getpid()}' in (tmp_path / "study.lock").read_text()

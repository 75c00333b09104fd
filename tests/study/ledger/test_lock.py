"""The lock of a study: held by one living process, free once that process is dead, however it died."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.ledger import lock
from study.ledger.lock import STALE_S, locked
from tests.conftest import ROOT

HOLD = """
import sys
from pathlib import Path
from study.ledger.lock import locked
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


def test_the_number_of_a_dead_driver_may_belong_to_another_process(tmp_path: Path) -> None:
    left = json.dumps({"pid": os.getppid(), "host": socket.gethostname()})
    (tmp_path / "study.lock").write_text(left)
    with locked(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / "study.lock").read_text()
    assert (tmp_path / "study.lock").read_text() == "", "nobody holds it after"


@pytest.mark.parametrize("text", ["", '{"pid": 1', "17", "\0\0"])
def test_a_torn_lock_file_is_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.lock").write_text(text)
    with locked(tmp_path):
        pass


def test_a_driver_on_another_machine_is_believed_as_long_as_it_touches_the_file(tmp_path: Path) -> None:
    """Where the file system's locks do not reach from one machine to the other."""
    held = tmp_path / "study.lock"
    held.write_text(json.dumps({"pid": 4711, "host": "elsewhere"}))
    with pytest.raises(ValueError, match=r"driven by process 4711 on elsewhere, which was alive \d+ s ago.*try again"):
        locked(tmp_path).__enter__()
    assert "elsewhere" in held.read_text(), "who was refused leaves the file as it was"
    old = time.time() - STALE_S - 1
    os.utime(held, (old, old))
    with locked(tmp_path):
        assert "elsewhere" not in held.read_text()


def test_a_holder_touches_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with locked(tmp_path):
        os.utime(tmp_path / "study.lock", (0, 0))
        deadline = time.monotonic() + 300
        while (tmp_path / "study.lock").stat().st_mtime == 0:
            assert time.monotonic() < deadline


def test_a_place_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(ValueError, match=r"on a local disk or NFS, but .* is not: .*No locks available"):
        locked(tmp_path).__enter__()


def test_a_holder_whose_clock_is_ahead_must_touch_the_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "study.lock"
    held.write_text(json.dumps({"pid": 4711, "host": "elsewhere"}))
    ahead = time.time() + 3600
    os.utime(held, (ahead, ahead))
    with monkeypatch.context() as patch:
        patch.setattr(lock.time, "sleep", lambda _: os.utime(held, (ahead + 10, ahead + 10)))
        with pytest.raises(ValueError, match=r"alive 0 s ago.*try again in 60 s"):
            locked(tmp_path).__enter__()
    monkeypatch.setattr(lock, "SECOND_BEAT_S", 0.1)
    with locked(tmp_path):
        assert "elsewhere" not in held.read_text(), "nobody was there"

"""The folder of a driver's own Ray, and what dead drivers left of theirs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.execution.local_ray import scratch
from study.execution.local_ray.scratch import OWNER, remove_if_dead, scratch_folder

HOLDER = """
import sys
from study.execution.local_ray import scratch
scratch.tempfile.tempdir = sys.argv[1]
scratch.LONGEST = 1000
with scratch.scratch_folder(print) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "LONGEST", 1000)
    return tmp_path


@contextmanager
def another_driver(parent: Path) -> "Iterator[tuple[subprocess.Popen[str], Path]]":
    command = [sys.executable, "-c", HOLDER, str(parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_is_gone_afterwards(parent: Path) -> None:
    with scratch_folder(print) as folder:
        (folder / "session").mkdir()
        assert folder.parent == parent
    assert not list(parent.iterdir())


def test_what_a_killed_driver_left_is_removed_with_its_processes_and_what_a_living_one_has_stays(parent: Path) -> None:
    (parent / "kdstudy-0").mkdir()  # no driver's
    with another_driver(parent) as (dead, left), another_driver(parent) as (_, used):
        agent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"--log-dir={left}/logs"])
        dead.kill()
        dead.wait()
        assert left.exists() and agent.poll() is None
        with scratch_folder(print):
            assert agent.wait(timeout=300) != 0
            assert not left.exists() and (used / OWNER).exists() and (parent / "kdstudy-0").exists()
        assert not remove_if_dead(used)


def test_a_long_path_is_replaced_by_a_short_one_and_said(
    parent: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, said = tmp_path_factory.mktemp("s"), list[str]()
    monkeypatch.setattr(scratch, "LONGEST", 5)
    monkeypatch.setattr(scratch, "SHORT", ("/nowhere", str(short)))
    with scratch_folder(said.append) as folder:
        assert folder.parent == short
    assert said == [
        f"Ray keeps its files in {short}: TMPDIR, of {len(str(parent))} characters, is too long for its sockets"
    ]
    monkeypatch.setattr(scratch, "SHORT", ("/nowhere",))
    with pytest.raises(ValueError, match=r"TMPDIR must have at most 5 characters.*set it to a shorter path"):
        scratch_folder(print).__enter__()

"""What status says of a study that runs, and of one whose driver is gone."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import study
from study.__main__ import main
from study.configuration.config import StudyConfig
from study.folder import create_study
from study.ledger.ledger import open_arms
from study.ledger.lock import LOCK, STALE_S, driver_of, locked


@pytest.fixture
def folder(config: Callable[..., StudyConfig], tmp_path: Path) -> Path:
    """A study of which a trial was begun."""
    folder = tmp_path / "study"
    create_study(config(), folder)
    assert open_arms(config(), folder, with_teacher=False)["baseline"].ask()
    return folder


def said(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["status", str(folder), *options]) == 0
    return capsys.readouterr().out


def test_trials_run_only_while_there_is_a_driver(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(folder):
        text = said(folder, capsys)
        assert "1 RUNNING" in text and "0 INTERRUPTED" in text
        assert text.endswith(f"driven by process {os.getpid()} on {socket.gethostname()}\n")
    text = said(folder, capsys)
    assert "0 RUNNING" in text and "1 INTERRUPTED" in text
    assert text.endswith(f"no driver runs; go on with: kdstudy resume {folder}\n")
    counts = json.loads(said(folder, capsys, "--json"))["baseline"]
    assert (counts["RUNNING"], counts["INTERRUPTED"]) == (0, 1)
    assert study.read(folder).status["baseline"]["INTERRUPTED"] == 1


def test_a_driver_that_was_killed_is_none(folder: Path) -> None:
    assert driver_of(folder) is None
    lock = folder / LOCK
    lock.write_text(json.dumps({"pid": 2**22 + 1, "host": socket.gethostname()}))  # above all process numbers
    assert driver_of(folder) is None
    lock.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert driver_of(folder) is not None
    os.utime(lock, (0, 0))
    assert driver_of(folder) is None, "a process that has its number by now"


def test_a_driver_on_another_machine_is_one_as_long_as_it_touches_the_lock(folder: Path) -> None:
    lock = folder / LOCK
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert driver_of(folder) == (1, "elsewhere")
    old = time.time() - STALE_S - 1
    os.utime(lock, (old, old))
    assert driver_of(folder) is None

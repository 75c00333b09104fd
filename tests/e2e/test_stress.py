"""Faults at random, one after the other, until the time is over: the study comes to the tables of one left alone.

`make stress` runs it. STRESS_SEED and STRESS_SECONDS change what is done and for how long; STRESS_REPORT names the
file that tells of every fault, runs/stress.json by default.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.drivers import TRIAL, below, driver, eventually, of_this_study, wait_while_alive
from tests.e2e.studies import assert_consistent, assert_same_study, contents, journal, tear_journal

pytestmark = [pytest.mark.ray, pytest.mark.stress, pytest.mark.timeout(0)]


def kill_driver(folder: Path, started: Any) -> None:
    started.kill()


def kill_driver_with_a_torn_journal(folder: Path, started: Any) -> None:
    started.kill()
    started.wait()
    tear_journal(folder, '{"op_code": 6, "tri')


def kill_driver_with_a_torn_table(folder: Path, started: Any) -> None:
    started.kill()
    started.wait()
    for path in folder.glob("tables/reports/live-*.arrows"):
        with path.open("ab") as file:
            file.write(b"\xff\xff\xff\xff\x88\x01\x00\x00half a batch")


def kill_driver_and_cut_a_checkpoint(folder: Path, started: Any) -> None:
    started.kill()
    started.wait()
    if running := sorted(folder.glob("trials/*/[ci][a-z]*_[0-9]*"), key=lambda path: path.stat().st_mtime):
        with (running[-1] / "state.pt").open("r+b") as file:
            file.truncate(100)


def terminate_driver(folder: Path, started: Any) -> None:
    told = time.monotonic()
    started.send_signal(signal.SIGTERM)
    started.wait(timeout=60)
    assert time.monotonic() - told < 30, "SIGTERM must be heeded within 30 s"


def kill_raylet(folder: Path, started: Any) -> None:
    for raylet in below(started.pid, "raylet/raylet"):
        raylet.kill()


def kill_trial(folder: Path, started: Any) -> None:
    for trial in below(started.pid, TRIAL):
        trial.kill()


FAULTS: tuple[Callable[[Path, Any], None], ...] = (
    kill_driver,
    kill_driver_with_a_torn_journal,
    kill_driver_with_a_torn_table,
    kill_driver_and_cut_a_checkpoint,
    terminate_driver,
    kill_raylet,
    kill_trial,
)


def disturb(folder: Path, whole: Path, dice: random.Random, until: float) -> list[dict[str, Any]]:
    """Start the study again and again, each time with a fault; gives what was done, and the last start's end."""
    done: list[dict[str, Any]] = []
    while True:
        command = ("resume", folder) if (folder / "study.json").exists() else ("run", whole, "--out", folder)
        lines = journal(folder).count(b"\n") + dice.choice((0, 1, 2, 3, 5, 8, 13, 21, 34))
        later = dice.choice((0.0, 0.2, 3.0))
        fault = dice.choice(FAULTS) if time.monotonic() < until else None
        started = driver(*command, cwd=folder.parent)
        began = time.monotonic()

        def due(lines: int = lines, later: float = later, began: float = began) -> bool:
            return journal(folder).count(b"\n") >= lines and time.monotonic() > began + later

        if fault is not None and wait_while_alive(started, due):
            fault(folder, started)
            if fault is kill_trial:  # the study goes on by itself
                fault = None
                done.append({"fault": "kill_trial", "journal_lines": lines})
        _, said = started.communicate(timeout=900)
        assert "Traceback" not in said or fault is kill_raylet, said
        eventually(lambda pid=started.pid: not of_this_study(pid), seconds=60, what="its cluster outlived the driver")
        if fault is None or started.returncode == 0:
            assert started.returncode == 0, said
            return done
        done.append({"fault": fault.__name__, "journal_lines": lines, "exit": started.returncode})


def test_random_faults_change_no_table(whole: Path, undisturbed: Path, tmp_path: Path) -> None:
    seed, seconds = int(os.environ.get("STRESS_SEED", "0")), float(os.environ.get("STRESS_SECONDS", "600"))
    dice, until = random.Random(seed), time.monotonic() + seconds
    report: dict[str, Any] = {"seed": seed, "studies": []}
    while time.monotonic() < until:
        folder = tmp_path / str(len(report["studies"])) / "run"
        folder.parent.mkdir()
        faults = disturb(folder, whole, dice, until)
        assert_consistent(folder)
        assert_same_study(folder, undisturbed)
        rows = {name: len(rows) for name, rows in contents(folder).items()}
        report["studies"].append({"faults": faults, "rows": rows, "equal_to_the_undisturbed_study": True})
        counted = Counter(fault["fault"] for study in report["studies"] for fault in study["faults"])
        report["survived"] = {"faults": sum(counted.values()), **dict(counted)}
        path = Path(os.environ.get("STRESS_REPORT", "runs/stress.json"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1))

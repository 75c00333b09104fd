"""What dies or is sent away while a study runs, and what the study says of it and does then."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.drivers import TRIAL, below, driver, eventually, kdstudy, of_this_study
from tests.e2e.studies import INLINE, LONG, assert_consistent, checkpoints, trial_rows
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
BASELINE = {"baseline": {"trials": 2, "space": "optimizer"}}


def test_killed_for_memory_told_to_go_extended_and_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    execution = {**INLINE, "max_attempts": 1}
    study = write_study(tmp_path, tiny(arms=BASELINE, execution=execution, pruning={"reduction_factor": 0}, **LONG))
    started = driver("run", study, "--out", folder, cwd=tmp_path)
    eventually(lambda: checkpoints(folder), seconds=240, what="no report")
    (trial,) = below(started.pid, TRIAL)
    trial.kill()  # as the kernel does that has no memory left
    eventually(lambda: (folder / "trials" / "baseline-00001").exists(), seconds=240, what="the rest did not go on")
    eventually(lambda: list(folder.glob("trials/baseline-00001/checkpoint_[0-9]*")), seconds=240, what="no report")

    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=240)
    assert started.returncode == 1, said
    assert f"go on with: kdstudy resume {folder}" in said and "Traceback" not in said
    eventually(lambda: not of_this_study(started.pid), seconds=120, what="processes are left after SIGTERM")
    (row,) = trial_rows(folder)
    assert (row["trial"], row["state"]) == (0, "FAIL")
    assert row["error"].startswith("Killed: its process was killed, which is what a system does that has no memory")
    assert row["peak_memory_mib"] > 100 and f"{row['peak_memory_mib']:.0f} MiB" in row["error"]

    done = kdstudy("resume", folder, "--trials", "3", "--retry-failed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = trial_rows(folder)
    assert Counter(row["state"] for row in rows) == {"FAIL": 1, "COMPLETE": 3}
    assert_consistent(folder)
    (again,) = (row for row in rows if row["retry_of"] == 0)
    assert again["config_hash"] == rows[0]["config_hash"]

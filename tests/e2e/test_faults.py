"""What dies, is sent away or finds no memory while a study runs, and what the study says of it and does then."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from study.folder import REQUEST
from tests.e2e.drivers import ENOUGH_S, TRIAL, below, driver, eventually, kdstudy, of_this_study
from tests.e2e.studies import INLINE, SMALL, assert_consistent, checkpoints, trial_rows
from tests.own_parts import METHOD, write
from tests.study.conftest import tiny, write_study, write_teacher

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
GREEDY = f"""
import torch
import torch.distributed as dist
{METHOD}
    def terms(self, student, teacher, labels):
        if dist.is_initialized() and dist.get_rank() == 1:  # and not where its steps are priced
            with open("{{noted}}", "a") as file:
                file.write("asked\\n")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return super().terms(student, teacher, labels)
"""
"""A method that finds no memory on one of two ranks, and the other waits for it."""
HELD = """
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers.difficulty import uniform

HOLD = Path("{hold}")


@dataclass(frozen=True, kw_only=True)
class Config(uniform.Config):
    weighting: Literal["held"] = "held"


class Weighting(uniform.Weighting):
    def terms(self, student, teacher, labels, *, iteration):
        while labels.device.type != "meta" and iteration == 4 and HOLD.exists():
            time.sleep(0.05)
        return super().terms(student, teacher, labels, iteration=iteration)
"""
"""A weighting whose trials wait amid their training while a file is there: what comes to them finds them at work."""


def test_killed_for_memory_told_to_go_extended_and_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    hold = tmp_path / "hold"
    hold.touch()
    write(tmp_path / "held.py", HELD.replace("{hold}", str(hold)))
    arms = {"baseline": {"trials": 2, "space": "optimizer", "task": {"weighting": "held"}}}
    execution = {**INLINE, "max_attempts": 1}
    values = tiny(**SMALL, arms=arms, plugins=["held.py"], execution=execution, pruning={"reduction_factor": 0})
    started = driver("run", write_study(tmp_path, values), "--out", folder, cwd=tmp_path)
    eventually(lambda: checkpoints(folder), what="no report")
    (trial,) = below(started.pid, TRIAL)
    trial.kill()  # as the kernel does that has no memory left
    eventually(lambda: (folder / "trials" / "baseline-00001").exists(), what="the rest did not go on")
    eventually(lambda: list(folder.glob("trials/baseline-00001/checkpoint_[0-9]*")), what="no report")

    started.send_signal(signal.SIGTERM)
    eventually(lambda: (folder / REQUEST).read_text().startswith("STOP"), what="trials are not asked to stop")
    hold.unlink()
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1, said
    assert f"go on with: kdstudy resume {folder}" in said and "Traceback" not in said
    eventually(lambda: not of_this_study(started.pid), what="processes are left after SIGTERM")
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


@pytest.mark.stress
def test_memory_that_one_rank_lacks_ends_a_trial_at_its_first_start(tmp_path: Path) -> None:
    write(tmp_path / "greedy.py", GREEDY.replace("{noted}", str(tmp_path / "noted")))
    changes = {
        "plugins": ["greedy.py"],
        "teacher": {"file": str(write_teacher(tmp_path / "teacher.safetensors"))},
        "arms": {"greedy": {"trials": 1, "space": "optimizer", "methods": {"greedy": {}}}},
        "execution": {"max_failed": 1},
    }
    study = write_study(tmp_path, tiny(**{**SMALL, "train__batch": 4}, train__workers=2, **changes))
    done = kdstudy("run", study, "--out", "run", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "noted").read_text() == "asked\n", done.stderr
    (row,) = trial_rows(tmp_path / "run")
    assert row["error"].startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB; the peak was ")
    assert row["peak_memory_mib"] > 0 and f"{row['peak_memory_mib']:.0f} MiB allocated on the GPU" in row["error"]

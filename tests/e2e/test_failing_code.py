"""A plugin that raises on the workers of Ray Train: what is left of it, how often it is tried, what trackers have."""

import csv
from pathlib import Path

import pytest

from tests.e2e.drivers import kdstudy
from tests.e2e.studies import SMALL, rows_of, trial_rows
from tests.own_parts import write
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
PLUGIN = """
import sys
from dataclasses import dataclass
from typing import Literal

from torch import distributed

from trainers.difficulty import uniform


@dataclass(frozen=True, kw_only=True)
class Config(uniform.Config):
    weighting: Literal["broken"] = "broken"


class Weighting(uniform.Weighting):
    def terms(self, student, teacher, labels, *, iteration):
        if labels.device.type != "meta":  # where operations are counted
            print("step", iteration)
            print("to standard error", file=sys.stderr)
            if iteration == 5:
                if distributed.is_initialized():
                    distributed.barrier()  # so that both ranks have printed: the first to raise ends the other
                return self.add(labels)
        return super().terms(student, teacher, labels, iteration=iteration)

    def add(self, labels):
        return labels + "1"
"""


def test_it_is_tried_twice_and_explained(tmp_path: Path) -> None:
    write(tmp_path / "broken.py", PLUGIN)
    study = tiny(
        **SMALL,
        train__workers=2,
        plugins=["broken.py"],
        arms={"broken": {"trials": 5, "space": "optimizer", "task": {"weighting": "broken"}}},
        execution={"concurrent": 1, "cpus_per_worker": 0.5, "max_attempts": 5, "max_failed": 1, "trackers": ["csv"]},
    )
    study["train"]["batch"] = 4
    folder = tmp_path / "run"
    done = kdstudy("run", write_study(tmp_path, study), "--out", folder, "--verbose", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (row,) = trial_rows(folder)
    # Ray Train starts workers again by itself, within an attempt
    assert (row["trial"], row["state"], row["attempts"]) == (0, "FAIL", 1)
    assert "broken: given up after 1 failed trial (execution.max_failed)\n" in done.stderr
    own = (folder / row["error_file"]).parent
    explained = (own / "error.txt").read_text()
    assert row["error"].startswith("TypeError: unsupported operand")
    assert "in add\n" in explained and "train_rank" in explained and "truncated" not in explained
    assert "to standard error\n" in explained and "--trial broken-0 --workers 0" in explained
    for name in ("log.txt", "log-rank1.txt"):
        steps = [line for line in (own / name).read_text().splitlines() if line.startswith("step")]
        assert steps[:6] == [f"step {number}" for number in range(6)]
        assert steps.count("step 5") == 2 and steps[-1] == "step 5"
    with (folder / "trackers" / "csv" / "broken-0" / "progress.csv").open(newline="") as file:
        tracked = [int(line["training_iteration"]) for line in csv.DictReader(file)]
    # the report of iteration 4 may have been on its way
    assert tracked == [one["iteration"] for one in rows_of(folder, "reports")] and tracked in ([2], [2, 4])
    assert "broken 0 | step 0\n" in done.stderr and "broken 0 rank 1 | step 5\n" in done.stderr
    assert not (folder / "tune").exists()

    again = kdstudy("train", folder, "--trial", "broken-0", "--workers", "0", "--out", tmp_path / "alone", cwd=tmp_path)
    assert again.returncode == 1 and "in add\n" in again.stderr and "TypeError: unsupported operand" in again.stderr

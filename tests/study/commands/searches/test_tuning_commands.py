"""What validate and status say of equal tuning, and how a time limit is written and ends a study."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.__main__ import main
from study.commands.options import duration
from study.configuration.config import StudyConfig
from study.execution import runner
from study.execution.stopping import Drain
from study.folder import create_study
from study.ledger.ledger import open_arms
from tests.study.ledger.test_ledger import end, start

Reader = Callable[..., StudyConfig]
KD = {"space": ["optimizer", "kd"], "methods": {"kd": {}}}
EQUAL: dict[str, Any] = {"arms": {"baseline": {"space": "optimizer"}, "kd": KD}, "budget": {"whole_trials": 2}}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400)]
)
def test_a_time_limit_has_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "0h", "h", "-1h", "30m1h", "2 h"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a time above 0"):
        duration(text)


def test_a_driver_begins_to_stop_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    drain = Drain()
    drain.limit(60)
    assert not drain.on
    now += 61
    assert drain.on and not drain.over, "what runs has its time to come to an evaluation"
    now += 60
    assert drain.over


@pytest.mark.parametrize("command", ["run", "resume"])
def test_both_commands_hand_the_limit_on(
    study_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    limits = []
    monkeypatch.setattr(runner, "resume", lambda *_, time_limit_s, **__: limits.append(time_limit_s) or True)
    place = (
        ["run", str(study_file()), "--out", str(tmp_path / "out")] if command == "run" else ["resume", str(tmp_path)]
    )
    assert main([*place, "--time-limit", "2h"]) == 0
    assert limits == [7200]


def test_validate_warns_where_arms_search_different_shared_parameters(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(study_file(**EQUAL))]) == 0
    said = capsys.readouterr().out
    assert "warning" not in said and "kd: 2 whole trials, none stopped before iteration 2" in said
    unequal = {**EQUAL, "arms": {**EQUAL["arms"], "kd": {**KD, "space": "kd", "trials": 3}}}
    assert main(["validate", str(study_file(**unequal))]) == 0
    said = capsys.readouterr().out
    assert "kd: 2 whole trials, at most 3 trials" in said
    assert (
        "warning: arms are tuned equally where they search the same shared parameters, but train/optimizer/lr" in said
    )


def test_validate_says_how_long_a_matched_arm_trains(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    matched = {**EQUAL, "arms": {**EQUAL["arms"], "long": {"space": "optimizer", "matched": "kd"}}}
    assert main(["validate", str(study_file(**matched))]) == 0
    assert "; 16 iterations, at the cost of a trial of kd" in capsys.readouterr().out


def test_status_says_what_each_arm_has_spent_of_its_budget(
    config: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, folder = config(**EQUAL), tmp_path / "study"
    create_study(study, folder)
    baseline = open_arms(study, folder, with_teacher=False)["baseline"]
    trial = start(baseline)
    baseline.report(trial.number, 6, 1.0)
    end(baseline, trial, TrialState.PRUNED, 1.0)
    assert main(["status", str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("baseline: 0 RUNNING")
    assert said[0].endswith("spent 0.50 of 2.00 whole trials of the plain student")
    assert main(["status", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["baseline"]["spent_trials"], found["baseline"]["budget_trials"]) == (0.5, pytest.approx(2.0))
    assert found["kd"]["spent"] == 0.0 and found["kd"]["unit"] == "operations"

"""A driver that dies between any two writes of the ledger: the next one comes to the same trials."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.ledger.journal import JOURNAL, RUN, repair_journal
from study.ledger.ledger import ArmLedger
from study.ledger.optuna_internals import JournalOperation
from study.ledger.trial_run import Suggestion
from tests.study.ledger.test_ledger import Reader, end, opened, run_of

ARM = "kd"
EVERY, END = 2, 12


def go_on(config: StudyConfig, folder: Path) -> list[dict[str, Any]]:
    """What a driver does with one worker, Ray left out; gives what the ledger says of every trial in the end."""
    repair_journal(folder)
    ledger = opened(config, folder, ARM)
    while asked := ledger.ask():
        ledger.note(run_of(asked))
        stopped = train(ledger, asked)
        end(ledger, asked, TrialState.PRUNED if stopped else TrialState.COMPLETE, score(asked.number, END))
    assert ledger.finished
    return [
        {
            "state": trial.state,
            "params": trial.params,
            "value": trial.value,
            "reports": trial.intermediate_values,
            "rungs": {name: value for name, value in trial.system_attrs.items() if "rung" in name},
        }
        for trial in ledger.study.get_trials(deepcopy=False)
    ]


def train(ledger: ArmLedger, asked: Suggestion) -> bool:
    """Report from where a trial's last two checkpoints are told again; says whether it was stopped."""
    for iteration in range(max(EVERY, ledger.last_step(asked.number) - EVERY), END + 1, EVERY):
        ledger.report(asked.number, iteration, score(asked.number, iteration))
        if iteration < ledger.last_step(asked.number):
            continue
        if iteration < END and ledger.should_prune(asked.number):
            return True
    return False


def score(number: int, iteration: int) -> float:
    return number * 7 % 5 + iteration * (1 + number % 3) / 10


def test_a_driver_may_die_between_any_two_lines(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    pruning = {"reduction_factor": 2, "grace_iterations": 2}
    arms = {ARM: {"trials": 8, "space": ["optimizer", "kd"], "methods": {"kd": {}}}}
    study = config(arms=arms, startup_trials=3, pruning=pruning)
    (tmp_path / "whole").mkdir()
    expected = go_on(study, tmp_path / "whole")
    states = [trial["state"] for trial in expected]
    assert states.count(TrialState.PRUNED) > 2 and states.count(TrialState.COMPLETE) > 1
    assert max(len(trial["rungs"]) for trial in expected) > 2
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert any(RUN.encode() in line for line in lines)
    for length in range(len(lines)):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(b"".join(lines[:length]))
        assert go_on(study, folder) == expected, f"died after line {length}: {lines[length - 1]!r}"


def is_of_a_rung(line: bytes) -> bool:
    """Whether a line of the journal says what a trial scored, or that it reached a rung."""
    entry = json.loads(line)
    operation = entry["op_code"]
    if operation == JournalOperation.SET_TRIAL_SYSTEM_ATTR:
        return any("rung" in name for name in entry["system_attr"])
    return bool(operation == JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE)


@pytest.mark.parametrize("seed", range(3))
def test_a_garbled_line_about_a_rung_changes_no_decision(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It is found when the next driver opens the journal, which an earlier one left at any line."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    arms = {ARM: {"trials": 8, "space": ["optimizer", "kd"], "methods": {"kd": {}}}}
    study = config(arms=arms, startup_trials=8, pruning={"reduction_factor": 2, "grace_iterations": 2})
    (tmp_path / "whole").mkdir()
    expected = [trial["state"] for trial in go_on(study, tmp_path / "whole")]
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if is_of_a_rung(line)]
    drawn = random.Random(seed)
    for number in range(25):
        garbled = drawn.choice(places)
        length = drawn.randrange(garbled + 1, min(len(lines), garbled + 30) + 1)
        folder = tmp_path / str(number)
        folder.mkdir()
        left = [*lines[:garbled], b"\0garbled\n", *lines[garbled + 1 : length]]
        (folder / JOURNAL).write_bytes(b"".join(left))
        found = [trial["state"] for trial in go_on(study, folder)]
        assert found == expected, f"line {garbled} of {length}: {lines[garbled]!r}"

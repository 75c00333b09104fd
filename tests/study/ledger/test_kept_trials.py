"""`pruning.keep_every`: some trials run through whatever early stopping says, and the others go on as they did."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.ledger.ledger import ArmLedger, open_arms
from study.ledger.optuna_internals import rungs, without_rungs
from study.ledger.rungs import WOULD_STOP
from study.ledger.trial_run import Suggestion
from tests.study.ledger.test_ledger import END, end, run_of, start
from trainers.config import content_hash, identity, plain

Reader = Callable[..., StudyConfig]
EVERY = 2
SCORES = (5.0, 4.0, 9.0, 3.0, 8.0, 2.0, 7.0, 6.0, 1.0, 9.5)


def opened(config: StudyConfig, folder: Path) -> ArmLedger:
    return open_arms(config, folder, with_teacher=False)["baseline"]


def run(config: StudyConfig, folder: Path, *, reopen: bool = False) -> dict[int, tuple[Any, ...]]:
    """Trials one after the other, each with one score throughout: where each ended, its state and its rungs."""
    folder.mkdir()
    arm, done = opened(config, folder), {}
    for score in SCORES:
        trial = start(arm)
        for iteration in range(EVERY, END + 1, EVERY):
            arm.report(trial.number, iteration, score)
            stops = iteration < END and arm.should_prune(trial.number)
            if reopen and not stops:
                arm = opened(config, folder)
                assert start(arm).number == trial.number
            if stops:
                break
        end(arm, trial, TrialState.PRUNED if stops else TrialState.COMPLETE, score)
        kept = arm.ended()[-1]
        done[trial.number] = (iteration, kept.state, kept.user_attrs.get(WOULD_STOP), rungs(kept))
    return done


@pytest.fixture
def keeping(config: Reader) -> Reader:
    """Reads a study of one arm whose pruning keeps every so many-th trial."""

    def read(keep_every: int | None, kind: str = "halving") -> StudyConfig:
        pruning = {"kind": kind, "reduction_factor": 2, "keep_every": keep_every}
        return config(arms={"baseline": {"space": "optimizer", "trials": 10}}, pruning=pruning)

    return read


@pytest.mark.parametrize("kind", ["halving", "hyperband"])
def test_kept_trials_run_through_and_the_others_stop_where_they_did(keeping: Reader, tmp_path: Path, kind: str) -> None:
    plainly, kept = run(keeping(None, kind), tmp_path / "plainly"), run(keeping(3, kind), tmp_path / "kept")
    assert any(state == TrialState.PRUNED for _, state, *_ in plainly.values())
    saved = 0
    for number, (iteration, state, _, noted) in plainly.items():
        if number % 3 or state == TrialState.COMPLETE:
            assert kept[number] == plainly[number]
        else:
            saved += 1
            assert kept[number] == (END, TrialState.COMPLETE, iteration, noted)
    assert saved


@pytest.mark.parametrize("kind", ["halving", "hyperband", "median"])
def test_drivers_that_die_at_every_evaluation_keep_the_same_trials(keeping: Reader, tmp_path: Path, kind: str) -> None:
    config = keeping(3, kind)
    assert run(config, tmp_path / "many", reopen=True) == run(config, tmp_path / "one")


def test_lost_notes_of_a_kept_trial_are_those_up_to_where_it_would_have_stopped(
    keeping: Reader, tmp_path: Path
) -> None:
    """A journal may have lost what a rung noted: it is put back, and no rung that early stopping never judged."""
    config = keeping(3)
    folder = tmp_path / "study"
    run(config, folder)
    ended = {trial.number: trial for trial in opened(config, folder).ended()}
    kept = next(trial for trial in ended.values() if WOULD_STOP in trial.user_attrs)
    noted = rungs(kept)
    stopping = opened(config, folder)._stopping
    assert stopping is not None
    assert stopping._lost_notes(without_rungs(kept, set(noted))) == noted


def test_the_earliest_stop_of_a_trial_is_the_arms_first_rung_or_its_own_end(keeping: Reader, tmp_path: Path) -> None:
    config = keeping(3)
    arm = opened(config, tmp_path)
    asked: Suggestion = start(arm)
    assert arm.earliest_stop(run_of(asked)) == config.grace("baseline") < END
    assert arm.earliest_stop(replace(run_of(asked), prunable=False)) == END
    (tmp_path / "seeds").mkdir()
    seeds = replace(config, arms={"baseline": replace(config.arms["baseline"], space=())})
    assert open_arms(seeds, tmp_path / "seeds", with_teacher=False)["baseline"].earliest_stop(run_of(asked)) is None


def test_a_study_without_it_is_what_it_was(keeping: Reader) -> None:
    config = keeping(None)
    assert "keep_every" not in identity(config)["pruning"] and plain(config)["pruning"]["keep_every"] is None
    assert content_hash(config) != content_hash(keeping(3))
    assert [number for number in range(7) if keeping(3).pruning.keeps(number)] == [0, 3, 6]

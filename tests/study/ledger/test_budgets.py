"""Budgets by cost: arms end at equal cost, whatever a trial costs, and a dead driver changes nothing of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.ledger.ledger import ArmLedger, open_arms, standing
from study.ledger.optuna_internals import enqueued_values
from study.ledger.spending import PRICES
from tests.study.ledger.test_ledger import END, end, start
from trainers.config import plain

Reader = Callable[..., StudyConfig]
EVERY = 2
JOINT = {
    "baseline": {"space": "optimizer"},
    "rdd": {"space": ["optimizer", "rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
}


@pytest.fixture
def equal(config: Reader) -> Reader:
    """The tiny study with joint spaces and a budget of six whole trials an arm."""
    return lambda **changes: config(**{"arms": JOINT, "budget": {"whole_trials": 6}, **changes})


def opened(config: StudyConfig, folder: Path) -> dict[str, ArmLedger]:
    return open_arms(config, folder, with_teacher=False)


def curve(values: dict[str, Any], iteration: int) -> float:
    """A trial's mIoU at an iteration: of its values alone."""
    return 100 * values["train/optimizer/lr"] + 1000 * values["train/optimizer/weight_decay"] + iteration / END


def run(config: StudyConfig, folder: Path, *, reopen_every: int = 0) -> dict[str, list[tuple[Any, ...]]]:
    """All trials of a study one after the other, with a new driver at every so many-th evaluation; what each did."""
    folder.mkdir()
    arms, evaluations = opened(config, folder), 0
    done: dict[str, list[tuple[Any, ...]]] = {name: [] for name in arms}
    while waiting := [arm for arm in arms.values() if not arm.exhausted]:
        name = min(waiting, key=lambda arm: arm.started_share).arm
        trial = start(arms[name])
        reason = None
        for iteration in range(EVERY, END + 1, EVERY):
            arms[name].report(trial.number, iteration, curve(dict(trial.values), iteration))
            evaluations += 1
            if reopen_every and evaluations % reopen_every == 0:
                arms = opened(config, folder)
                assert start(arms[name]).number == trial.number
            reason = arms[name].stop_reason(trial.number) if iteration < END else None
            if reason:
                break
        assert arms[name].stopped_by(trial.number) == reason
        done[name].append((trial.number, tuple(sorted(trial.values.items())), iteration, reason))
        end(
            arms[name],
            trial,
            TrialState.PRUNED if reason else TrialState.COMPLETE,
            curve(dict(trial.values), iteration),
        )
    assert all(arm.finished for arm in arms.values())
    return done


def test_arms_of_unequal_prices_end_at_equal_cost(equal: Reader, tmp_path: Path) -> None:
    config = equal()
    done = run(config, tmp_path / "study")
    arms = opened(config, tmp_path / "study")
    prices = arms["rdd"].spending.prices
    assert prices is not None and min(prices.iteration.values()) > 1.2 * prices.plain, "the teacher's forward costs"
    spends = {name: arm.spent / prices.whole_trial for name, arm in arms.items()}
    assert all(6 <= spent < 6 + EVERY / END * 2 for spent in spends.values())
    assert sum(iteration for _, _, iteration, _ in done["baseline"]) > sum(i for _, _, i, _ in done["rdd"])
    # the trial that crosses the budget ends at its next evaluation, and says why
    assert [reason for *_, reason in done["rdd"]].count("budget") <= 1
    assert "budget" in {reason for trials in done.values() for *_, reason in trials}
    # and a reader without the driver sees the same
    for name, (_, spent, _) in standing(config, tmp_path / "study").items():
        assert spent is not None and spent.budget == 6
        assert spent.whole_trials == pytest.approx(spends[name])


@pytest.mark.parametrize("pruning", ["halving", "hyperband", "median"])
def test_a_driver_that_dies_again_and_again_runs_the_same_trials(equal: Reader, tmp_path: Path, pruning: str) -> None:
    config = equal(pruning={"kind": pruning, "reduction_factor": 2}, startup_trials=2)
    assert run(config, tmp_path / "many", reopen_every=1) == run(config, tmp_path / "one")


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_every_sampler_draws_the_same_after_a_death(equal: Reader, tmp_path: Path, sampler: str) -> None:
    small = {"sampler": sampler}
    config = equal(search=small, startup_trials=2, budget={"whole_trials": 4})
    first = run(config, tmp_path / "one")
    assert run(config, tmp_path / "many", reopen_every=3) == first
    assert len({values for _, values, _, _ in first["rdd"]}) == len(first["rdd"]), "each is another"


def test_a_grid_is_tried_once_each_and_then_ends(config: Reader, tmp_path: Path) -> None:
    arms = {"baseline": {"space": "optimizer", "trials": 100}}
    done = run(config(arms=arms, search={"sampler": "grid", "points": 2}, pruning={"kind": "none"}), tmp_path / "study")
    tried = [values for _, values, _, _ in done["baseline"]]
    assert len(tried) == len(set(tried)) == 4
    ends = {(path, value) for values in tried for path, value in values}
    assert ("train/optimizer/lr", 0.005) in ends and ("train/optimizer/lr", 0.2) in ends


def test_the_startup_settings_of_what_all_search_are_the_same_in_every_arm(equal: Reader, tmp_path: Path) -> None:
    config = equal(startup_trials=4, pruning={"kind": "none"}, searches=2)
    shared = ("train/optimizer/lr", "train/optimizer/weight_decay")
    drawn = {
        name: [tuple(values[path] for path in shared) for values in (start(arm).values for _ in range(4))]
        for name, arm in opened(config, tmp_path).items()
    }
    assert drawn["rdd"] == drawn["baseline"] and len(set(drawn["rdd"])) == 4
    assert drawn["rdd"][0] == (0.05, 5e-4)
    # another search of the arms has other luck, the same for all of them
    assert drawn["rdd-search2"] == drawn["baseline-search2"] != drawn["rdd"]


def test_a_failed_trial_costs_nothing_and_running_ones_count_to_their_next_evaluation(
    equal: Reader, tmp_path: Path
) -> None:
    arm = opened(equal(budget={"iterations": 14}, pruning={"kind": "none"}), tmp_path)["baseline"]
    failed, first = start(arm), start(arm)
    arm.report(failed.number, 10, 1.0)
    end(arm, failed, TrialState.FAIL)
    assert arm.spent == 0
    arm.report(first.number, 10, 1.0)
    assert not arm.should_prune(first.number) and not arm.exhausted, "12 of 14 are committed"
    second = start(arm)
    assert arm.exhausted, "two trials that each come to an evaluation have all of it"
    arm.report(second.number, 2, 1.0)
    assert arm.stop_reason(second.number) == "budget", "the other one comes to 12"
    end(arm, second, TrialState.PRUNED, 1.0)
    arm.report(first.number, 12, 1.0)
    end(arm, first, value=1.0)
    assert arm.finished and arm.ask() is None


def test_a_trial_that_is_not_held_against_others_ends_with_the_budget_too(equal: Reader, tmp_path: Path) -> None:
    arm = opened(equal(budget={"iterations": 4}), tmp_path)["baseline"]
    trial = start(arm)
    for iteration, expected in ((2, None), (4, "budget")):
        arm.report(trial.number, iteration, 1.0)
        assert arm.stop_reason(trial.number, prunable=False) == expected


def test_a_retry_fills_the_budget_and_never_runs_beyond_it(equal: Reader, tmp_path: Path) -> None:
    arm = opened(equal(budget={"iterations": 4}), tmp_path)["baseline"]
    end(arm, start(arm), TrialState.FAIL)
    assert arm.retry_failed() == 1
    again = start(arm)
    assert again.retry_of == 0
    arm.report(again.number, 4, 1.0)
    assert arm.stop_reason(again.number, prunable=False) == "budget"
    end(arm, again, TrialState.PRUNED, 1.0)
    assert arm.finished and arm.retry_failed() == 0


def test_prices_are_made_once_and_kept(equal: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = equal()
    first = opened(config, tmp_path)
    monkeypatch.setattr("study.ledger.ledger.price_arms", lambda config: pytest.fail("priced again"))
    again = opened(config, tmp_path)
    assert {name: arm.spending.prices for name, arm in again.items()} == {
        name: arm.spending.prices for name, arm in first.items()
    }
    raised = opened(equal(budget={"whole_trials": 12}), tmp_path)["rdd"]
    assert raised.spending.budget == pytest.approx(2 * (again["rdd"].spending.budget or 0))


def test_a_study_from_before_keeps_its_rules(config: Reader, tmp_path: Path) -> None:
    """Its ledger and its study.json do not speak of rules, samplers, kinds of pruning or prices."""
    from study.configuration.identity import record
    from study.folder import CONFIG, read_config

    new = config(arms__rdd__space=["optimizer", "rdd", "kd"], startup_trials=3, pruning={"reduction_factor": 2})
    former = plain(new)
    for later in ("tuning_rules", "search", "price", "budget"):
        del former[later]
    del former["pruning"]["kind"]
    (tmp_path / CONFIG).write_text(json.dumps(former))
    read = read_config(tmp_path)
    assert read.tuning_rules == 1 and read.pruning.kind == "halving"
    assert read.grace("baseline") < read.grace("rdd") and new.grace("baseline") == new.grace("rdd")
    arm = opened(read, tmp_path)["baseline"]
    first, second = start(arm), start(arm)
    assert first.values == read.space("baseline").defaults()
    trials = arm.study.get_trials(deepcopy=False)
    assert [bool(enqueued_values(trial)) for trial in trials] == [True, False], "only the defaults are enqueued"
    assert second.values != first.values
    assert PRICES not in arm.study.user_attrs
    # a later start holds the same study against the former record
    arm.study.set_user_attr("began", {"arm": "baseline", "config": _without_later(record(read, "baseline"))})
    assert opened(read_config(tmp_path), tmp_path)["baseline"].spending.prices is None


def _without_later(recorded: str) -> str:
    values = json.loads(recorded)
    for later in ("tuning_rules", "search", "price", "budget"):
        del values[later]
    del values["pruning"]["kind"]
    return json.dumps(values)

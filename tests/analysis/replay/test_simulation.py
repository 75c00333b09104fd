"""A replay gives back what the ledger decided, and says what it would have decided."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.replay.record import ArmRecord, arm_records
from analysis.replay.replay import Bounds, replay
from analysis.replay.rules import MAYBE, NO, YES
from analysis.replay.schedule import Schedule
from analysis.replay.simulation import Limits, Outcome, simulate
from analysis.studies.study import open_study
from study.configuration.config import StudyConfig
from study.configuration.tuning import BudgetConfig, PruningConfig, SearchConfig
from tests.analysis.replay.driven import Decision, Driven, drive
from tests.benchmarks.tuning import Landscape, study

KINDS = ("halving", "hyperband", "median", "none")


def configured(
    seed: int, kind: str, *, whole_trials: float = 6, sampler: str = "random", **pruning: int
) -> StudyConfig:
    config = study(seed, whole_trials=whole_trials, arms=("baseline", "rdd"), search=SearchConfig(sampler=sampler))  # type: ignore[arg-type]
    return replace(config, pruning=PruningConfig(kind=kind, **pruning))  # type: ignore[arg-type]


def records(driven: Driven) -> list[ArmRecord]:
    return arm_records(open_study(driven.folder))


def decision(one: Outcome) -> Decision | str:
    """What a replay says of a trial, as the ledger would say it; a text where it is not sure."""
    if one.least != one.most:
        return f"{one.least} to {one.most}"
    if one.trial.state == "FAIL" and one.stopped_by is None:
        return "FAIL", one.most, None
    return "COMPLETE" if one.finished is YES else "PRUNED", one.most, one.stopped_by


def decisions(outcomes: Sequence[Outcome]) -> dict[int, Decision | str]:
    return {one.trial.number: decision(one) for one in outcomes if one.begun is not NO}


@pytest.mark.parametrize("keep_every", [None, 3])
@pytest.mark.parametrize("concurrent", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_recorded_schedule_gives_the_studys_own_decisions_back(
    kind: str, concurrent: int, keep_every: int | None, tmp_path: Path
) -> None:
    pruning = {"keep_every": keep_every} if keep_every else {}
    config = configured(2, kind, whole_trials=7, sampler="tpe", **pruning)
    driven = drive(
        config, tmp_path / "study", Landscape.drawn(2), concurrent=concurrent, fails=lambda number: number % 5 == 3
    )
    reasons = {reason for _, _, reason in driven.decisions.values()}
    assert "budget" in reasons and (kind == "none" or "pruning" in reasons)
    if keep_every and kind != "none":
        assert driven.would_stop and all(number % keep_every == 0 for _, number in driven.would_stop)
    found = open_study(driven.folder)
    for record in arm_records(found):
        outcomes = simulate(record, Schedule.of(found.config), Limits(budget=record.budget, trials=record.cap))
        assert decisions(outcomes) == driven.of(record.arm)
        assert not any(one.beyond for one in outcomes)
        would_stop = {(record.arm, one.trial.number): one.would_stop for one in outcomes if one.would_stop}
        assert would_stop == {key: at for key, at in driven.would_stop.items() if key[0] == record.arm}
        assert sum(one.cost[0] for one in outcomes) == pytest.approx(driven.costs[record.arm])
    assert all(one.agreeing == one.trials for one in replay(found).agreements)


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    """A study of random settings without early stopping, with more trials than the others will ask for."""
    config = configured(4, "none", whole_trials=30)
    return drive(config, tmp_path_factory.mktemp("unstopped") / "study", Landscape.drawn(4))


@pytest.mark.parametrize(("budget", "cap"), [(5.0, 10_000), (12.0, 9)], ids=["budget", "trials"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_schedule_agrees_with_really_running_it(
    kind: str, budget: float, cap: int, unstopped: Driven, tmp_path: Path
) -> None:
    config = configured(4, kind, whole_trials=budget, reduction_factor=2)
    config = replace(config, arms={name: replace(arm, trials=cap) for name, arm in config.arms.items()})
    really = drive(config, tmp_path / "really", Landscape.drawn(4))
    for record in records(unstopped):
        schedule = Schedule(kind=kind, reduction_factor=2)  # type: ignore[arg-type]
        outcomes = simulate(record, schedule, Limits(budget=budget, trials=cap))
        assert decisions(outcomes) == really.of(record.arm)
        assert sum(one.cost[1] for one in outcomes) == pytest.approx(really.costs[record.arm])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", ["halving", "median"])
def test_where_iterations_are_missing_the_truth_lies_within_the_bounds(stored: str, kind: str, tmp_path: Path) -> None:
    """The stored study stopped trials that others would not; what really running those gives is within."""
    landscape, unknown = Landscape.drawn(6), 0
    for seed in range(4):
        limits = {"budget": BudgetConfig(whole_trials=40.0)}
        short, other = (
            replace(config, **limits, arms={name: replace(arm, trials=14) for name, arm in config.arms.items()})
            for config in (configured(seed, stored), configured(seed, kind, reduction_factor=2))
        )
        done = drive(short, tmp_path / f"{seed}-stored", landscape)
        really = drive(other, tmp_path / f"{seed}-really", landscape)
        schedule = Schedule(kind=kind, reduction_factor=2)  # type: ignore[arg-type]
        found = replay(open_study(done.folder), [schedule])
        for arm, record in zip(found.arms[1::2], records(done), strict=True):
            outcomes = simulate(record, schedule, Limits(budget=40, trials=14))
            unknown += arm.unknown
            truth = really.of(record.arm)
            for one in outcomes:
                state, iterations, _ = truth[one.trial.number]
                assert one.least <= iterations <= one.most
                assert state == "COMPLETE" or one.finished is not YES
                assert state == "PRUNED" or one.finished is not NO
            assert holds(arm.cost, really.costs[record.arm])
            assert holds(arm.finished, sum(state == "COMPLETE" for state, *_ in truth.values()))
            best = max(record.winner.score for record in records(really) if record.arm == arm.arm)  # type: ignore[union-attr, type-var]
            assert holds(arm.best, best)
    assert unknown or kind == stored, "something was missing"


def holds(bounds: Bounds, value: float) -> bool:
    rounding = 1e-9
    low = bounds.low is None or bounds.low <= value + rounding
    return low and (bounds.high is None or value <= bounds.high + rounding)


def test_a_budget_that_is_used_up_for_certain_or_perhaps(unstopped: Driven) -> None:
    """A trial begins for certain only where the others surely leave some of the budget."""
    record = records(unstopped)[0]
    stored = simulate(record, Schedule(kind="none"), Limits(budget=3))
    assert [one.begun for one in stored[:4]] == [YES, YES, YES, NO]
    shortened = tuple(
        replace(trial, state="PRUNED", iterations=200, score=None) if trial.number == 0 else trial
        for trial in record.trials
    )
    kept = (record.place != 0) | (record.iteration <= 200)
    cut = {name: getattr(record, name)[kept] for name in ("what", "place", "iteration", "score")}
    found = simulate(replace(record, trials=shortened, **cut), Schedule(kind="none"), Limits(budget=3))
    # trial 0 goes on to 225 iterations at least and to 400 at most, so trial 3 may begin and may not
    assert found[0].beyond and (found[0].least, found[0].most) == (225, 400)
    assert [one.begun for one in found[:4]] == [YES, YES, YES, MAYBE]
    assert not any(one.begun is YES for one in found[4:])

"""Rules of early stopping: Optuna's where all is known, and never wrong where it is not."""

import itertools
import random
from collections.abc import Iterator

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from analysis.replay.rules import MAYBE, NO, YES, Halving, Median, Never, Rule
from analysis.replay.schedule import bracket

GRACE, WHOLE, EVERY, NAME = 3, 40, 2, "study/arm"


def rules(factor: int) -> Iterator[tuple[BasePruner, Rule]]:
    yield SuccessiveHalvingPruner(min_resource=GRACE, reduction_factor=factor), Halving(GRACE, factor, lambda trial: 0)
    hyperband = HyperbandPruner(min_resource=GRACE, max_resource=WHOLE, reduction_factor=factor)
    yield hyperband, Halving(GRACE, factor, lambda trial: hyperband_bracket(trial, factor))
    yield MedianPruner(n_warmup_steps=GRACE - 1), Median(GRACE)


def hyperband_bracket(trial: int, factor: int) -> int:
    return bracket(trial, study_name=NAME, grace=GRACE, iterations=WHOLE, factor=factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("kind", [0, 1, 2], ids=["halving", "hyperband", "median"])
def test_a_rule_stops_what_optuna_stops(kind: int, factor: int) -> None:
    pruner, rule = list(rules(factor))[kind]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=NAME, direction="maximize", pruner=pruner)
    chosen, running, stopped = random.Random(factor), [], 0
    for _ in range(900):
        if len(running) < 4:
            running.append((study.ask(), {}))
        trial, curve = chosen.choice(running)
        iteration = EVERY * (len(curve) + 1)
        # few values, so that many are equal; and some that are none
        curve[iteration] = score = float("nan") if chosen.random() < 0.01 else float(chosen.randrange(12))
        trial.report(score, iteration)
        stops = iteration < WHOLE and trial.should_prune()
        if iteration < WHOLE:
            assert rule.stops(trial.number, iteration, score, YES) is (YES if stops else NO)
        if stops or iteration >= WHOLE:
            stopped += stops
            running.remove((trial, curve))
            study.tell(trial, None if stops else 1.0, state=TrialState.PRUNED if stops else TrialState.COMPLETE)
            if not stops:
                rule.completed(curve, YES)
    assert stopped > 20 and any(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_no_early_stopping_stops_nothing() -> None:
    assert Never().stops(0, 2, float("nan"), YES) is NO


def answers(sure: list[float], options: list[list[float | None]], score: float, factor: int) -> set[bool]:
    """Whether Optuna's rule of a rung stops a score, in every world that is possible."""
    found = set()
    for world in itertools.product(*options):
        values = sorted([*sure, *(value for value in world if value is not None), score])
        place = max(len(values) // factor, 1)
        found.add(score < values[-place])
    return found


@pytest.mark.parametrize("factor", [2, 3])
def test_a_rung_is_sure_only_where_every_possible_world_agrees(factor: int) -> None:
    chosen = random.Random(1)
    seen = set()
    for _ in range(300):
        sure, maybe = ([float(chosen.randrange(8)) for _ in range(chosen.randrange(5))] for _ in range(2))
        unknown, score = chosen.randrange(3), float(chosen.randrange(8))
        rule = Halving(GRACE, factor, lambda trial: 0)
        for number, value in enumerate(sure):
            rule.stops(number, GRACE, value, YES)
        for number, value in enumerate(maybe, 10):
            rule.stops(number, GRACE, value, MAYBE)
        for number in range(20, 20 + unknown):
            rule.unknown(number, {}, GRACE + 1, judged=True)
        worlds = [[value, None] for value in maybe] + [[None, -1.0, 99.0]] * unknown
        possible = answers(sure, worlds, score, factor)
        expected = MAYBE if len(possible) == 2 else YES if possible == {True} else NO
        assert rule.stops(30, GRACE, score, YES) is expected
        seen.add(expected)
    assert seen == {NO, MAYBE, YES}


def test_a_median_is_sure_only_where_every_possible_world_agrees() -> None:
    chosen = random.Random(2)
    seen = set()
    for _ in range(300):
        sure = [float(chosen.randrange(8)) for _ in range(chosen.randrange(3, 8))]
        maybe = [float(chosen.randrange(8)) for _ in range(chosen.randrange(3))]
        unknown, score = chosen.randrange(3), float(chosen.randrange(8))
        rule = Median(GRACE)
        for value in sure:
            rule.completed({GRACE: value}, YES)
        for value in maybe:
            rule.completed({GRACE: value}, MAYBE)
        for number in range(unknown):
            rule.unknown(number, {}, WHOLE, judged=True)
        worlds = [[value, None] for value in maybe] + [[None, -1.0, 99.0]] * unknown
        possible = set()
        for world in itertools.product(*worlds):
            values = [*sure, *(value for value in world if value is not None)]
            possible.add(len(values) >= 5 and score < float(np.median(values)))
        found = rule.stops(30, GRACE, score, YES)
        # it may be less sure than the worlds are, because it does not look at each, and never wrong
        assert found is MAYBE or possible == {found is YES}
        seen.add(found)
    assert seen == {NO, MAYBE, YES}

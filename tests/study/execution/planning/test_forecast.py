"""What a study takes, from what its trials take: against sums by hand and simulated halving."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.pruners import SuccessiveHalvingPruner

from study.execution.planning.forecast import (
    ArmWork,
    Halving,
    arm_forecast,
    disk_bytes,
    expected_iterations,
    wall_seconds,
)

WORK = ArmWork(
    iterations=400,
    evaluate_every=80,
    trials=6,
    paid_iterations=None,
    halving=None,
    ranks=1,
    step_s=0.1,
    teacher_s=0.04,
    live=1.0,
    evaluation_s=2.0,
    start_s=3.0,
    checkpoint_bytes=1000,
    waits=False,
    slots=2,
)


def test_whole_trials_are_steps_evaluations_and_a_start() -> None:
    assert WORK.whole_trial_s == pytest.approx(3 + 400 * 0.1 + 5 * 2)
    found = arm_forecast(WORK)
    assert (found.trials, found.iterations) == (6, 2400)
    assert found.busy_s == pytest.approx(6 * WORK.whole_trial_s)
    assert wall_seconds([WORK]) == pytest.approx(6 * WORK.whole_trial_s / 2)
    assert wall_seconds([replace(WORK, slots=100)]) == pytest.approx(WORK.whole_trial_s, rel=0.1), "no trial is divided"


def test_a_schedule_that_ends_between_two_evaluations_has_one_at_its_end() -> None:
    work = replace(WORK, iterations=410)
    assert work.whole_trial_s == pytest.approx(3 + 410 * 0.1 + 6 * 2)


def test_recorded_outputs_spare_the_teacher() -> None:
    spared = WORK.iteration_s - replace(WORK, live=0.25).iteration_s
    assert spared == pytest.approx(0.75 * 0.04)


def test_a_budget_by_cost_pays_for_iterations_whatever_is_stopped() -> None:
    work = replace(WORK, trials=10_000, paid_iterations=2000.0)
    assert arm_forecast(work).iterations == 2000
    assert arm_forecast(work).trials == 5
    stopped = arm_forecast(replace(work, halving=Halving(grace=80, factor=3)))
    assert stopped.iterations == 2000
    assert stopped.trials > 5
    few = arm_forecast(replace(work, trials=3))
    assert (few.trials, few.iterations) == (3, 1200), "the cap comes first"


@pytest.mark.parametrize(("trials", "grace", "factor"), [(12, 80, 3), (20, 50, 2), (7, 200, 3)])
def test_halving_is_what_optunas_pruner_makes_of_settings_in_random_order(trials: int, grace: int, factor: int) -> None:
    work = replace(WORK, halving=Halving(grace=grace, factor=factor))
    rng = np.random.default_rng(0)
    pruned = [halved(rng.permutation(trials), grace, factor) for _ in range(40)]
    assert expected_iterations(work, trials) == pytest.approx(np.mean(pruned), rel=0.06)
    assert expected_iterations(work, trials) < trials * WORK.iterations


def halved(qualities: np.ndarray, grace: int, factor: int) -> int:
    """Iterations of trials of these qualities, one after another, under Optuna's own pruner."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = SuccessiveHalvingPruner(min_resource=grace, reduction_factor=factor)
    past = optuna.create_study(direction="maximize", pruner=pruner)
    total = 0
    for quality in qualities.tolist():
        trial = past.ask()
        for iteration in range(WORK.evaluate_every, WORK.iterations + 1, WORK.evaluate_every):
            trial.report(float(quality), iteration)
            if trial.should_prune():
                break
        past.tell(trial, float(quality))
        total += iteration
    return total


def test_trials_that_are_kept_run_to_their_end_and_the_others_as_before() -> None:
    work = replace(WORK, halving=Halving(grace=80, factor=3))
    kept = replace(WORK, halving=Halving(grace=80, factor=3, keep_every=5))
    assert expected_iterations(work, 10) < expected_iterations(kept, 10) < 10 * WORK.iterations
    assert expected_iterations(kept, 1) == WORK.iterations
    assert expected_iterations(kept, 5) - expected_iterations(kept, 1) == pytest.approx(
        expected_iterations(work, 5) - expected_iterations(work, 1)
    )


def test_trials_that_may_not_be_stopped_are_whole_ones() -> None:
    halved = replace(WORK, halving=Halving(grace=80, factor=3))
    whole = 20 * WORK.iterations
    assert expected_iterations(replace(halved, unstopped=1.0), 20) == whole
    fifth = expected_iterations(replace(halved, unstopped=0.2), 20)
    assert fifth == pytest.approx(0.2 * whole + 0.8 * expected_iterations(halved, 20))
    paid = replace(halved, trials=10_000, paid_iterations=4000.0)
    assert arm_forecast(replace(paid, unstopped=1.0)).trials == 10 < arm_forecast(paid).trials


def test_very_many_trials_are_as_long_as_the_last_ones_that_are_drawn() -> None:
    work = replace(WORK, halving=Halving(grace=80, factor=3))
    each = (expected_iterations(work, 10_000) - expected_iterations(work, 5_000)) / 5_000
    assert 80 < each < 0.6 * WORK.iterations


def test_a_teacher_that_is_trained_first_comes_before_the_arms_that_wait() -> None:
    teacher = replace(WORK, trials=1, iterations=1000, slots=2)
    waiting = replace(WORK, waits=True)
    alone = teacher.whole_trial_s
    assert wall_seconds([waiting], teacher) == pytest.approx(alone + 3 * WORK.whole_trial_s)
    assert wall_seconds([replace(waiting, waits=False)], teacher) < alone + 3 * WORK.whole_trial_s


def test_replicates_are_whole_trials() -> None:
    searched = replace(WORK, trials=10_000, paid_iterations=2000.0, halving=Halving(grace=80, factor=3), waits=True)
    again = searched.replicated(5, live=0.5)
    assert arm_forecast(again).iterations == 5 * 400
    assert again.iteration_s < searched.iteration_s


def test_the_newest_checkpoints_and_the_best_one_stay() -> None:
    assert disk_bytes({"a": WORK}, 2) == 6 * 3 * 1000
    assert disk_bytes({"a": replace(WORK, evaluate_every=400)}, 2) == 6 * 1000

"""From what one trial of each arm takes to what the study takes: numbers in, numbers out.

An arm with a budget by cost trains as many iterations as that pays for, at its price; how many trials share them, and
how long trials are where only their number is given, follows from successive halving among settings in random order.
What other early stopping spares is not foreseen: its trials count as whole ones.
"""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, takewhile
from math import ceil

import numpy as np
from numpy.typing import NDArray

from study.execution.display.time_left import ArmTimes, Ended, seconds_left

TRAIN_START_S = 4.6
INLINE_START_S = 0.1
"""What a trial takes beside its own start, a Ray Train run or in a process that is kept: docs/performance.md."""

ORDERS = 200
"""Drawn orders of settings."""
MOST_DRAWN, TAIL = 500, 100
"""Trials of an order; those beyond count as long as its last TAIL ones are on average."""


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Successive halving.

    Attributes:
        grace: iterations of the first rung.
        factor: one trial in so many goes on from each.
        keep_every: every so many-th trial runs to its end; None for none.
    """

    grace: int
    factor: int
    keep_every: int | None = None


@dataclass(frozen=True, kw_only=True)
class ArmWork:
    """What an arm has to do, and what its parts take.

    Attributes:
        iterations: of a whole trial.
        evaluate_every: of them.
        trials: at most.
        paid_iterations: that its budget by cost pays for; None where only trials are counted.
        halving: its early stopping; None where trials are not stopped, or it is of another kind.
        unstopped: share of its trials that early stopping may not end, whatever they score.
        ranks: of a trial.
        step_s: seconds of a step whose teacher computes.
        teacher_s: of that, the teacher's.
        live: share of the steps at which the teacher computes; at the others its recorded outputs are read.
        evaluation_s: seconds of an evaluation, with its checkpoint.
        start_s: seconds of a trial before its first step.
        checkpoint_bytes: of one checkpoint.
        waits: whether it waits for a teacher that is trained first.
        slots: trials of it that run at a time.
    """

    iterations: int
    evaluate_every: int
    trials: int
    paid_iterations: float | None
    halving: Halving | None
    unstopped: float = 0.0
    ranks: int
    step_s: float
    teacher_s: float
    live: float
    evaluation_s: float
    start_s: float
    checkpoint_bytes: int
    waits: bool
    slots: int

    @property
    def iteration_s(self) -> float:
        """Seconds of an iteration with its share of the evaluations."""
        evaluations = ceil(self.iterations / self.evaluate_every)
        return self.step_s - (1 - self.live) * self.teacher_s + evaluations * self.evaluation_s / self.iterations

    @property
    def whole_trial_s(self) -> float:
        """Seconds of a trial that is not stopped."""
        return self.start_s + self.iterations * self.iteration_s

    def replicated(self, seeds: int, live: float) -> "ArmWork":
        """The same arm's setting with so many seeds, none stopped."""
        return replace(self, trials=seeds, paid_iterations=None, halving=None, live=live, waits=False)


@dataclass(frozen=True, kw_only=True)
class ArmForecast:
    """What an arm will take.

    Attributes:
        trials: how many.
        iterations: of all of them.
        busy_s: seconds of all of them, one after another.
    """

    trials: int
    iterations: float
    busy_s: float


def arm_forecast(work: ArmWork) -> ArmForecast:
    """Trials, iterations and seconds of an arm."""
    trials, iterations = _trials(work)
    busy_s = trials * work.start_s + iterations * work.iteration_s
    return ArmForecast(trials=trials, iterations=iterations, busy_s=busy_s)


def wall_seconds(arms: Sequence[ArmWork], teacher: ArmWork | None = None) -> float:
    """Seconds from the first trial to the last one's end.

    Args:
        arms: all but the teacher's.
        teacher: that of a teacher which has to be trained first; None for none.
    """
    return seconds_left(list(map(_times, arms)), _times(teacher) if teacher else None) or 0.0


def _times(work: ArmWork) -> ArmTimes:
    """As if one trial of the arm had just ended."""
    trials, iterations = _trials(work)
    usual = iterations / trials
    ended = Ended(cost=usual, seconds=usual * work.iteration_s, overhead_s=work.start_s)
    return ArmTimes(
        whole=work.iterations,
        cost_left=iterations,
        trials_left=trials,
        slots=work.slots,
        waits=work.waits,
        ended=[ended],
    )


def _trials(work: ArmWork) -> tuple[int, float]:
    """Trials of an arm and iterations of all of them."""
    if work.paid_iterations is None:
        return work.trials, expected_iterations(work, work.trials)
    fewest = ceil(work.paid_iterations / work.iterations)
    number = next(n for n in count(max(1, fewest)) if n >= work.trials or _pays_for(work, n))
    return min(number, work.trials), min(work.paid_iterations, expected_iterations(work, min(number, work.trials)))


def _pays_for(work: ArmWork, trials: int) -> bool:
    """Whether so many trials use the budget up."""
    assert work.paid_iterations is not None
    return expected_iterations(work, trials) >= work.paid_iterations


def expected_iterations(work: ArmWork, trials: int) -> float:
    """Iterations of so many trials of an arm, the settings in random order: the mean over drawn orders.

    Asynchronous successive halving lets a trial go on that is among the best n // factor of the n at a rung so far, and
    the best one always. The share that it may not stop is of whole trials.
    """
    whole = float(trials * work.iterations)
    if work.halving is None:
        return whole
    return work.unstopped * whole + (1 - work.unstopped) * _halved(work, work.halving, trials)


def _halved(work: ArmWork, halving: Halving, trials: int) -> float:
    known = min(trials, MOST_DRAWN)
    rungs = _rungs(halving, work)
    lengths = _mean_lengths(rungs, halving.factor, halving.keep_every, work.iterations, MOST_DRAWN)
    return float(lengths[:known].sum() + (trials - known) * lengths[-TAIL:].mean())


def _rungs(halving: Halving, work: ArmWork) -> tuple[int, ...]:
    """The evaluations at which trials are held against others, before their end."""
    places = (halving.grace * halving.factor**number for number in count())
    evaluated = (ceil(place / work.evaluate_every) * work.evaluate_every for place in places)
    return tuple(takewhile(lambda at: at < work.iterations, evaluated))


@lru_cache(maxsize=64)
def _mean_lengths(
    rungs: tuple[int, ...], factor: int, keep_every: int | None, whole: int, trials: int
) -> NDArray[np.float64]:
    """Iterations of each of so many trials, one after another, the mean over ORDERS orders [trials]."""
    qualities = np.random.default_rng(0).random((ORDERS, trials))
    lengths = np.array([_lengths(order, rungs, factor, whole) for order in qualities.tolist()], float)
    if keep_every:
        lengths[:, ::keep_every] = whole
    means: NDArray[np.float64] = lengths.mean(0)
    return means


def _lengths(qualities: Sequence[float], rungs: Sequence[int], factor: int, whole: int) -> list[int]:
    """Iterations of each of these trials."""
    at_rungs: list[list[float]] = [[] for _ in rungs]
    return [_length(quality, at_rungs, rungs, factor, whole) for quality in qualities]


def _length(quality: float, at_rungs: Sequence[list[float]], rungs: Sequence[int], factor: int, whole: int) -> int:
    """Iterations of a trial, which takes its place at the rungs."""
    for there, iterations in zip(at_rungs, rungs, strict=True):
        insort(there, quality)
        if quality < there[-max(1, len(there) // factor)]:
            return iterations
    return whole


def disk_bytes(arms: Mapping[str, ArmWork], kept: int) -> float:
    """Bytes of the checkpoints that stay: the newest `kept` and the best one of each trial."""
    total = 0.0
    for work in arms.values():
        trials, iterations = _trials(work)
        evaluations = ceil(iterations / trials / work.evaluate_every)
        total += trials * min(evaluations, kept + 1) * work.checkpoint_bytes
    return total

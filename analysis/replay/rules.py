"""The rules of early stopping as functions of the scores they compare, also where some of these are not known.

A study is stopped by Optuna's pruners, which judge one trial among others that are all known. A replay has to say what
they would do for every score that a trial might have had after it was stopped in truth. So each rule counts three kinds
of rivals: those that are surely there, those that may be, and those that may be there with any score. It answers NO or
YES only where all of these agree. Where everything is known the rules are Optuna's, which a test holds them against.
"""

import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Protocol

MEDIAN_STARTUP = 5
"""Finished trials before Optuna's MedianPruner judges any."""


class Certainty(IntEnum):
    """How sure something is."""

    NO = 0
    MAYBE = 1
    YES = 2


NO, MAYBE, YES = Certainty.NO, Certainty.MAYBE, Certainty.YES


class Rule(Protocol):
    """Early stopping of one arm, which is given its reports in their order."""

    def stops(self, trial: int, iteration: int, score: float, there: Certainty) -> Certainty:
        """Whether a trial that reports stops; `there` says how sure it is that it came so far (never NO)."""
        ...

    def completed(self, curve: Mapping[int, float], there: Certainty) -> None:
        """A trial ended its budget with these scores by iteration."""
        ...

    def unknown(self, trial: int, curve: Mapping[int, float], whole: int, *, judged: bool) -> None:
        """A trial may go on from its known scores up to `whole` iterations, with any scores.

        `judged` says whether the rule may still look at it.
        """
        ...


class Never:
    """No early stopping."""

    def stops(self, trial: int, iteration: int, score: float, there: Certainty) -> Certainty:
        return NO

    def completed(self, curve: Mapping[int, float], there: Certainty) -> None:
        """It is compared with nothing."""

    def unknown(self, trial: int, curve: Mapping[int, float], whole: int, *, judged: bool) -> None:
        """It is compared with nothing."""


class _Rung:
    """The scores at one rung."""

    def __init__(self) -> None:
        self.sure: list[float] = []
        self.maybe: list[float] = []
        self.unknown = 0

    def stops(self, score: float, factor: int) -> Certainty:
        """Whether a score is not among the best of its rung, itself counted.

        A rival that is higher and may be there makes it worse for the score, as the share that goes on grows by at most
        one in two; a lower one makes it better.
        """
        higher = len(self.sure) - bisect_right(self.sure, score)
        maybe_higher = len(self.maybe) - bisect_right(self.maybe, score)
        number = len(self.sure) + 1
        if not self.maybe and not self.unknown:
            return NO if _goes_on(higher, number, factor) else YES
        worse = maybe_higher + self.unknown
        if _goes_on(higher + worse, number + worse, factor):
            return NO
        better = len(self.maybe) - maybe_higher + self.unknown
        return MAYBE if _goes_on(higher, number + better, factor) else YES


def _goes_on(higher: int, number: int, factor: int) -> bool:
    """Whether a trial with so many above it is among the first of `number`: one in `factor`, and one at least."""
    return higher < max(number // factor, 1)


class Halving:
    """Asynchronous successive halving, in the bracket of each trial.

    Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", as Optuna's SuccessiveHalvingPruner: a
    trial that stops is never resumed, and the first of a rung goes on.

    Args:
        grace: iterations of the first rung.
        factor: one in so many goes on.
        bracket: of a trial: how many rungs later its first one is.
    """

    def __init__(self, grace: int, factor: int, bracket: Callable[[int], int]) -> None:
        self._grace, self._factor, self._bracket = grace, factor, bracket
        self._rungs: dict[tuple[int, int], _Rung] = defaultdict(_Rung)
        self._next: dict[int, int] = defaultdict(int)
        self._brackets: dict[int, int] = {}

    def _at(self, trial: int, rung: int) -> int:
        """The iterations of a rung of a trial."""
        return self._grace * int(self._factor ** (self._bracket_of(trial) + rung))

    def _bracket_of(self, trial: int) -> int:
        if trial not in self._brackets:
            self._brackets[trial] = self._bracket(trial)
        return self._brackets[trial]

    def stops(self, trial: int, iteration: int, score: float, there: Certainty) -> Certainty:
        found = NO
        while self._at(trial, self._next[trial]) <= iteration:
            if math.isnan(score):
                return YES
            rung = self._rungs[self._bracket_of(trial), self._next[trial]]
            stops = rung.stops(score, self._factor)
            insort(rung.sure if there is YES else rung.maybe, score)
            self._next[trial] += 1
            if stops is YES:
                return YES
            if stops is MAYBE:
                found = there = MAYBE
        return found

    def completed(self, curve: Mapping[int, float], there: Certainty) -> None:
        """Rungs hold the scores of all trials alike."""

    def unknown(self, trial: int, curve: Mapping[int, float], whole: int, *, judged: bool) -> None:
        rung = self._next[trial]
        while judged and self._at(trial, rung) < whole:
            self._rungs[self._bracket_of(trial), rung].unknown += 1
            rung += 1


class Median:
    """Optuna's MedianPruner: a trial stops whose best score is below the median of the finished ones at the iteration.

    Args:
        grace: iterations before which no trial is judged.
    """

    def __init__(self, grace: int) -> None:
        self._warmup = grace - 1
        self._best: dict[int, float] = defaultdict(lambda: -math.inf)
        self._sure: dict[int, list[float]] = defaultdict(list)
        self._maybe: dict[int, list[float]] = defaultdict(list)
        self._finished, self._maybe_finished = 0, 0
        self._unknown: list[int] = []

    def stops(self, trial: int, iteration: int, score: float, there: Certainty) -> Certainty:
        self._best[trial] = best = max(self._best[trial], score) if not math.isnan(score) else self._best[trial]
        if self._finished + self._maybe_finished < MEDIAN_STARTUP or iteration < self._warmup:
            return NO
        unknown = bisect_right(self._unknown, iteration - 1)
        return self._compared(best, self._sure[iteration], self._maybe[iteration], unknown)

    def _compared(self, best: float, sure: Sequence[float], maybe: Sequence[float], unknown: int) -> Certainty:
        """Whether the best score of a trial is below the median of the finished ones at an iteration.

        Args:
            best: minus infinity where the trial has no score, which Optuna stops.
            sure: scores of those that have surely finished, in order.
            maybe: of those that may have, in order.
            unknown: how many may have, with any score.
        """
        low, split = bisect_right(sure, best), bisect_right(maybe, best)
        below = sure[low - 1] if low else -math.inf
        above = sure[low] if low < len(sure) else math.inf
        # as if only those were there that raise the median
        least = min(above, maybe[split]) if split < len(maybe) else above
        if not _is_below(best, low, len(sure) + len(maybe) - split + unknown, below, least):
            return NO
        # as if all were there that lower it
        most = max(below, maybe[split - 1]) if split else below
        lower = low + split + unknown
        surely = self._finished >= MEDIAN_STARTUP and _is_below(best, lower, lower + len(sure) - low, most, above)
        return YES if surely else MAYBE

    def completed(self, curve: Mapping[int, float], there: Certainty) -> None:
        self._finished += there is YES
        self._maybe_finished += there is MAYBE
        self._add(self._sure if there is YES else self._maybe, curve)

    def _add(self, scores: dict[int, list[float]], curve: Mapping[int, float]) -> None:
        for iteration, score in curve.items():
            if not math.isnan(score):
                insort(scores[iteration], score)

    def unknown(self, trial: int, curve: Mapping[int, float], whole: int, *, judged: bool) -> None:
        self._maybe_finished += 1
        self._add(self._maybe, curve)
        insort(self._unknown, max(curve, default=0))


def _is_below(best: float, lower: int, number: int, below: float, above: float) -> bool:
    """Whether a score is below the median of others; of none it is not.

    Args:
        best: the score.
        lower: how many of the others are at most as high.
        number: of the others.
        below: the highest of the lower ones.
        above: the lowest of the higher ones.
    """
    if best == -math.inf or (number and (number - 1) // 2 >= lower):
        return True
    if not number or number // 2 < lower:
        return False
    if math.isinf(above) or math.isinf(below):
        return best < below + above
    return best < above - (above - below) * 0.5  # in NumPy's order, so that no last bit differs

"""One arm's search again under another schedule: stored reports in their order, and what is not stored as unknown.

The suggestions stay as stored, and so does the order of what happened. A trial that goes on beyond its stored end may
have had any score there, so what it decides about others, and what it costs, is known within bounds; each bound holds
for whatever it would have scored and whenever it would have reported. Where a schedule stops trials no later than the
stored one did, all is known, and in a study that ran one trial at a time it is what the ledger would have done.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.replay.record import ArmRecord, Trial, What
from analysis.replay.rules import MAYBE, NO, YES, Certainty, Halving, Median, Never, Rule
from analysis.replay.schedule import Schedule, bracket

ROUNDING = 1e-9
"""Share of a budget that sums of prices may be off, as in the ledger."""
Reason = Literal["pruning", "budget"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long an arm's search goes on.

    Attributes:
        budget: whole trials of the plain student that it may spend; None for any.
        trials: that may end well or run; None for any.
    """

    budget: float | None = None
    trials: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What becomes of a trial.

    Attributes:
        trial: as it is stored.
        begun: whether it is started.
        finished: whether it uses its whole budget.
        least, most: iterations that it trains.
        cost: the same at its price, least and most; 0 for one that fails.
        stopped_by: why it is surely stopped; None where it is not, or may not be.
        beyond: whether it may go on beyond its stored end.
        would_stop: of a trial that the schedule lets run through, the iteration at which it would surely be stopped.
    """

    trial: Trial
    begun: Certainty
    finished: Certainty
    least: int
    most: int
    cost: tuple[float, float]
    stopped_by: Reason | None
    beyond: bool
    would_stop: int | None


@dataclass
class _Running:
    """A trial in the middle of a replay.

    Attributes:
        alive: whether it has come so far; NO before its start and after its sure end.
        judged: whether early stopping still looks at it.
        low, high: what it costs until its next evaluation at least and at most.
        curve: its scores so far.
    """

    trial: Trial
    begun: Certainty = NO
    alive: Certainty = NO
    judged: Certainty = YES
    finished: Certainty = NO
    ended: bool = False
    least: int = 0
    most: int = 0
    low: float = 0.0
    high: float = 0.0
    stopped_by: Reason | None = None
    beyond: bool = False
    would_stop: int | None = None
    curve: dict[int, float] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        failed = self.trial.state == "FAIL" and self.ended and self.stopped_by is None
        return Outcome(
            trial=self.trial,
            begun=self.begun,
            finished=self.finished,
            least=self.least,
            most=self.most,
            cost=(0.0 if failed else self.trial.price * self.least, self.high),
            stopped_by=self.stopped_by,
            beyond=self.beyond,
            would_stop=self.would_stop,
        )


def simulate(record: ArmRecord, schedule: Schedule, limits: Limits) -> list[Outcome]:
    """What becomes of each trial of an arm, in the order of their numbers.

    Args:
        record: what is stored of the arm.
        schedule: of early stopping.
        limits: of the search.

    Raises:
        ValueError: the tables do not say where the first rung lies, and neither does the schedule.
    """
    return _Simulation(record, schedule, limits).run()


def rule_of(record: ArmRecord, schedule: Schedule) -> Rule:
    """Early stopping of an arm.

    Raises:
        ValueError: nothing says where the first rung lies.
    """
    if schedule.kind == "none":
        return Never()
    grace = schedule.grace or record.grace
    if grace is None:
        if any(trial.earliest_stop is None and trial.state != "RUNNING" for trial in record.trials):
            raise ValueError(
                f"a replay needs the first rung, but the tables of {record.arm} do not say where it was: they are of "
                "an older kdstudy, or of failed trials alone; give it with --grace ITERATIONS"
            )
        return Never()  # no trial of the arm may be judged
    if schedule.kind == "median":
        return Median(grace)
    numbers = [trial.number for trial in record.trials]
    factor = schedule.reduction_factor

    def bracket_of(trial: int) -> int:
        if schedule.kind == "halving":
            return 0
        return bracket(
            numbers[trial], study_name=record.study_name, grace=grace, iterations=record.whole, factor=factor
        )

    return Halving(grace, factor, bracket_of)


def rung_iterations(schedule: Schedule, record: ArmRecord) -> list[int]:
    """The iterations of the rungs below a whole trial, of all brackets together; none without rungs."""
    grace = schedule.grace or record.grace
    if schedule.kind not in ("halving", "hyperband") or grace is None:
        return []
    longest = max(record.whole, *(trial.whole for trial in record.trials))
    rungs = []
    while grace < longest:
        rungs.append(grace)
        grace *= schedule.reduction_factor
    return rungs


class _Simulation:
    """The state of a replay: what each trial has come to, and what all may have spent."""

    def __init__(self, record: ArmRecord, schedule: Schedule, limits: Limits) -> None:
        self._record, self._schedule, self._limits = record, schedule, limits
        self._rule = rule_of(record, schedule)
        self._trials = [_Running(trial) for trial in record.trials]
        self._low = self._high = 0.0
        self._fewest = self._most = 0
        self._allowed = None if limits.budget is None else limits.budget * (1 - ROUNDING)

    def run(self) -> list[Outcome]:
        record, matter = self._record, self._that_matter()
        events = (column[matter].tolist() for column in (record.what, record.place, record.iteration, record.score))
        for what, place, iteration, score in zip(*events, strict=True):
            running = self._trials[place]
            if what == What.REPORT:
                if running.begun is NO and not running.ended:
                    self._start(running)
                if running.alive is not NO:
                    self._report(place, running, iteration, score)
            elif what == What.START:
                if running.begun is NO and not running.ended:
                    self._start(running)
            else:
                self._end(place, running)
        return [running.outcome for running in self._trials]

    def _that_matter(self) -> NDArray[np.bool_]:
        """Which events decide something: without a budget and with rungs not the reports between two rungs."""
        record = self._record
        matter = np.ones(len(record.what), np.bool_)
        if self._allowed is not None or self._schedule.kind == "median":
            return matter
        rungs = rung_iterations(self._schedule, record)
        reports = np.flatnonzero(record.what == What.REPORT)
        ordered = reports[np.lexsort((record.iteration[reports], record.place[reports]))]
        place, level = record.place[ordered], np.searchsorted(rungs, record.iteration[ordered], side="right")
        begins = np.diff(place, prepend=-1) != 0
        last = np.diff(place, append=-1) != 0
        matter[ordered] = last | np.where(begins, level > 0, np.diff(level, prepend=0) != 0)
        return matter

    def _start(self, running: _Running) -> None:
        filled = self._uses_up(self._low, self._high)
        if (cap := self._limits.trials) is not None:
            filled = max(filled, _reaches(self._fewest, self._most, cap))
        if filled is YES:
            running.ended = True
            return
        running.begun = running.alive = YES if filled is NO else MAYBE
        self._fewest += running.begun is YES
        self._most += 1
        first = running.trial.price * min(running.trial.whole, running.trial.every)
        self._spend(running, first if running.begun is YES else 0.0, first)

    def _uses_up(self, low: float, high: float) -> Certainty:
        return NO if self._allowed is None else _reaches(low, high, self._allowed)

    def _spend(self, running: _Running, low: float, high: float) -> None:
        """Set what a trial costs until it can be stopped."""
        self._low += low - running.low
        self._high += high - running.high
        running.low, running.high = low, high

    def _report(self, place: int, running: _Running, iteration: int, score: float) -> None:
        trial = running.trial
        running.curve[iteration] = score
        running.most = iteration
        now = trial.price * iteration
        if running.alive is YES:
            running.least = iteration
        stops, reason = NO, None
        if iteration < trial.whole:
            stops, reason = self._judge(place, running, iteration, score, now)
        later = trial.price * min(trial.whole, iteration + trial.every)
        # the ledger counts a trial that it has stopped as running until it is told of its end
        over = later if trial.state == "PRUNED" and iteration == trial.iterations else now
        surely = {NO: later, MAYBE: now, YES: over}[stops]
        self._spend(running, surely if running.alive is YES else running.low, over if stops is YES else later)
        if stops is YES:
            running.stopped_by = reason if running.alive is YES else None
            running.alive = NO
        elif stops is MAYBE:
            running.alive = MAYBE

    def _judge(
        self, place: int, running: _Running, iteration: int, score: float, now: float
    ) -> tuple[Certainty, Reason | None]:
        over = self._uses_up(self._low - running.low + now, self._high - running.high + now)
        if over is YES:
            return YES, "budget"
        if running.judged is NO or running.trial.never_judged:
            return over, None
        there = min(running.alive, running.judged, YES if over is NO else MAYBE)
        stops = self._rule.stops(place, iteration, score, there)
        if not self._schedule.keeps(running.trial.number):
            return max(over, stops), "pruning"
        if stops is YES and running.judged is YES:
            running.would_stop = iteration
        running.judged = min(running.judged, Certainty(YES - stops))
        return over, None

    def _end(self, place: int, running: _Running) -> None:
        """What the stored end of a trial means for one that has come so far."""
        trial, alive = running.trial, running.alive
        if alive is NO:
            if running.stopped_by is not None:
                self._spend(running, trial.price * running.least, trial.price * running.most)
            return
        running.ended, running.alive = True, NO
        if trial.state == "COMPLETE":
            running.finished = alive
            self._rule.completed(running.curve, alive)
        elif trial.state == "FAIL":
            self._fail(running, alive)
        else:
            running.beyond, running.most = True, trial.whole
            running.finished = MAYBE
            next_one = min(trial.whole, trial.iterations + trial.every)
            running.least = next_one if alive is YES else running.least
            low = trial.price * next_one if alive is YES else running.low
            self._spend(running, low, trial.price * trial.whole)
            judged = running.judged is not NO and not trial.never_judged
            self._rule.unknown(place, running.curve, trial.whole, judged=judged)

    def _fail(self, running: _Running, alive: Certainty) -> None:
        """It costs nothing, and is replaced."""
        self._fewest -= running.begun is YES
        self._most -= alive is YES
        self._spend(running, 0.0, 0.0 if alive is YES else running.high)


def _reaches(low: float, high: float, limit: float) -> Certainty:
    """Whether an amount between two bounds reaches a limit."""
    if low >= limit:
        return YES
    return MAYBE if high >= limit else NO

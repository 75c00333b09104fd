"""How long a study will still take, by what its trials have cost and how long they took: numbers in, a number out.

Each arm's budget that is left is turned into seconds by what a unit of cost has taken in that arm, and shared among as
many trials as run at a time. A teacher comes first: beside it only arms that do not distil are trained. Failures are
not foreseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

RECENT = 8
"""Trials of an arm, the last ones, by which its speed and its early stopping are judged: machines change."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A trial that has ended well.

    Attributes:
        cost: of its iterations.
        seconds: of its steps and evaluations.
        overhead_s: seconds between its start and its end that were neither; None for a trial that says nothing of the
            next ones, because a process was started for it that is kept.
    """

    cost: float
    seconds: float
    overhead_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that runs: what its iterations so far cost, and the seconds that they took; 0 where nobody knows."""

    cost: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ArmTimes:
    """An arm with what is left of its budget.

    Attributes:
        whole: cost of a trial that is not stopped.
        cost_left: of the budget beyond the trials that have ended well; None where only trials are counted.
        trials_left: trials of the budget beyond those that have ended well, running ones among them.
        slots: trials of it that run at a time.
        waits: whether it waits for the teacher, where that is trained first.
        guess: how much of its cost an arm without any trial is taken to come to; below 1 where trials do not compute
            all that they are priced by.
        ended: its trials that have ended well, in the order of their ends.
        running: its trials that run.
    """

    whole: float
    cost_left: float | None
    trials_left: int
    slots: int = 1
    waits: bool = False
    guess: float = 1.0
    ended: Sequence[Ended] = field(default=())
    running: Sequence[Running] = field(default=())

    @property
    def recent(self) -> Sequence[Ended]:
        return self.ended[-RECENT:]


def seconds_left(arms: Sequence[ArmTimes], teacher: ArmTimes | None = None) -> float | None:
    """Seconds until all budgets are used; None while nothing is known of any trial's speed.

    Args:
        arms: all arms but the teacher's.
        teacher: the arm of a teacher that has to be trained and is not yet; None where there is none to wait for.
    """
    known = _Known.of(arms) or _Known.of([teacher] if teacher else [])
    if known is None:
        return None
    ready = [_Work.of(arm, known) for arm in arms if not (teacher and arm.waits)]
    waiting = [_Work.of(arm, known) for arm in arms if teacher and arm.waits]
    if teacher is None:
        return _together(ready)
    first = _Work.of(teacher, replace(known, share=1.0))  # nobody stops it early
    # what the other slots do meanwhile
    beside = first.seconds * (1 - 1 / max(teacher.slots, 1))
    after = max(0.0, _shares(ready) - beside)
    return first.seconds + max(after + _shares(waiting), max((one.longest for one in waiting), default=0.0))


@dataclass(frozen=True)
class _Known:
    """What all arms' trials say of an arm that has had none: seconds by cost, share of a trial, seconds beside it."""

    rate: float
    share: float
    overhead_s: float

    @classmethod
    def of(cls, arms: Sequence[ArmTimes]) -> "_Known | None":
        rates = [rate for arm in arms if (rate := _rate(arm)) is not None]
        if not rates:
            return None
        shares = [one.cost / arm.whole for arm in arms for one in arm.recent]
        overheads = [one.overhead_s for arm in arms for one in arm.recent if one.overhead_s is not None]
        share = sum(shares) / len(shares) if shares else 1.0
        return cls(median(rates), share or 1.0, median(overheads) if overheads else 0.0)


@dataclass(frozen=True)
class _Work:
    """What is left of an arm: seconds of one slot, how many slots share them, and those of its longest trial."""

    seconds: float
    slots: int
    longest: float

    @classmethod
    def of(cls, arm: ArmTimes, known: _Known) -> "_Work":
        rate = _rate(arm)
        if rate is None:
            rate = known.rate * arm.guess
        ended = arm.recent
        usual = (sum(one.cost for one in ended) / len(ended) if ended else 0.0) or arm.whole * known.share
        cost = _cost_left(arm, usual)
        begun = [max(0.0, usual - one.cost) for one in arm.running]
        new = max(0.0, cost - sum(begun)) / usual
        longest = min(cost, usual if new else max(begun, default=0.0))
        return cls(cost * rate + new * known.overhead_s, max(arm.slots, 1), longest * rate)


def _rate(arm: ArmTimes) -> float | None:
    """Seconds that a unit of cost takes in an arm; None where it has had no trial that came anywhere."""
    trials: list[Ended | Running] = [*arm.recent, *(one for one in arm.running if one.seconds)]
    cost = sum(one.cost for one in trials)
    return sum(one.seconds for one in trials) / cost if cost else None


def _cost_left(arm: ArmTimes, usual: float) -> float:
    """What is still to be spent, of running trials too, if the next trials cost as much as the last ones."""
    by_trials = arm.trials_left * usual
    left = by_trials if arm.cost_left is None else min(arm.cost_left, by_trials)
    return max(0.0, left - sum(one.cost for one in arm.running))


def _shares(work: Sequence[_Work]) -> float:
    """Seconds of the whole cluster that this work takes."""
    return sum(one.seconds / one.slots for one in work)


def _together(work: Sequence[_Work]) -> float:
    return max(_shares(work), max((one.longest for one in work), default=0.0))

"""What another schedule of early stopping, budget or number of trials would have made of a study's searches.

Regret is how much the best finished trial of the replay is below the best one that the study has stored of the arm.
Settings stay as they were suggested: a sampler that learns from results would have suggested others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.replay.rank import RungRank, rung_ranks
from analysis.replay.record import ArmRecord, arm_records
from analysis.replay.rules import MAYBE, NO, YES
from analysis.replay.schedule import KINDS, Schedule
from analysis.replay.simulation import Limits, Outcome, simulate
from analysis.studies.study import Study

LEARNING = ("tpe", "gp", "nsga2")
"""Samplers whose suggestions depend on the results before."""


@dataclass(frozen=True)
class Bounds:
    """Between what a number lies; None where there is no bound on that side. Equal ones are the number."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None and f"{self.low:.2f}" == f"{self.high:.2f}":
            return f"{self.low:.2f}"
        if self.low is None or self.high is None:
            at_least = "any" if self.low is None else f"at least {self.low:.2f}"
            return at_least if self.high is None else f"at most {self.high:.2f}"
        return f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True, kw_only=True)
class ArmReplay:
    """An arm's search under a schedule.

    Attributes:
        arm: its name.
        schedule: of early stopping.
        limits: of the search.
        trials: that begin.
        stopped: of them, those that early stopping or the budget ends.
        finished: that use their whole budget.
        cost: of those that do not fail; in whole trials of the plain student, or in iterations where `priced` is False.
        saved: of what the study has spent on the arm.
        best: mIoU in percent of the best finished trial.
        regret: points by which that is below the best stored one.
        winner: the trial that was best in truth; None where none has finished.
        winner_stopped: the iteration at which it is surely stopped, or 0 where it is surely not begun; None else.
        winner_kept: whether it surely uses its whole budget.
        unknown: trials that may go on beyond what is stored of them.
        unused: of the budget, in whole trials, at least; None without a budget.
        priced: see `cost`.
    """

    arm: str
    schedule: Schedule
    limits: Limits
    trials: Bounds
    stopped: Bounds
    finished: Bounds
    cost: Bounds
    saved: Bounds
    best: Bounds
    regret: Bounds
    winner: int | None
    winner_stopped: int | None
    winner_kept: bool
    unknown: int
    unused: float | None
    priced: bool


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Whether replaying what an arm did gives its own decisions back.

    Attributes:
        arm: its name.
        trials: that ended COMPLETE or PRUNED.
        agreeing: of them, those that the replay ends at the same iteration for the same reason.
    """

    arm: str
    trials: int
    agreeing: int


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A study's searches again.

    Attributes:
        study: its name.
        recorded: the schedule that it had.
        agreements: of its own schedule, by arm.
        arms: by arm and then by schedule; the study's own first.
        ranks: how early evaluations rank trials, beside the end.
        notes: what the replay rests on, in sentences.
    """

    study: str
    recorded: Schedule
    agreements: tuple[Agreement, ...]
    arms: tuple[ArmReplay, ...]
    ranks: tuple[RungRank, ...]
    notes: tuple[str, ...]


def replay(
    study: Study, schedules: Sequence[Schedule] = (), *, budget: float | None = None, trials: int | None = None
) -> Replay:
    """Replay every arm that searches, by its own schedule and by others.

    Args:
        study: also one that runs.
        schedules: the other ones; each kind of early stopping, at the study's first rung, where there are none and
            neither a budget nor a number of trials is asked about.
        budget: whole trials of the plain student that each arm may spend; the study's own where None.
        trials: that each arm may have; the study's own where None.

    Raises:
        ValueError: costs are asked about that the study does not have, the first rung is not known, or the study
            searched more than mIoU.
    """
    _refuse_other_objectives(study)
    recorded, records = Schedule.of(study.config), arm_records(study)
    if budget is not None and (unpriced := [record.arm for record in records if not record.priced]):
        raise ValueError(
            f"--budget needs costs, but the trials of {', '.join(unpriced)} have none: the study began before costs "
            "were priced; give --trials"
        )
    asked = schedules or (() if budget or trials else _others(recorded))
    given = next((one.grace for one in schedules if one.grace), None)
    agreements, arms = [], []
    for record in records:
        own = recorded if record.grace else replace(recorded, grace=given)
        outcomes = simulate(record, own, _limits(record, None, None))
        agreements.append(_agreement(record, outcomes))
        limits = _limits(record, budget, trials)
        arms.append(_arm(record, own, limits, simulate(record, own, limits) if budget or trials else outcomes))
        arms += [_arm(record, one, limits, simulate(record, one, limits)) for one in asked]
    ranks = tuple(rank for record in records for rank in rung_ranks(record, recorded))
    notes = _notes(study, records, arms, agreements)
    return Replay(
        study=study.name,
        recorded=recorded,
        agreements=tuple(agreements),
        arms=tuple(arms),
        ranks=ranks,
        notes=notes,
    )


def _refuse_other_objectives(study: Study) -> None:
    search = study.config.get("search", {})
    if more := [*search.get("objectives", ())[1:], *search.get("constraints", ())]:
        raise ValueError(
            f"a replay says what other early stopping would have done to the best mIoU, but {study.name} searched "
            f"{', '.join(more)} too; see its fronts: kdstudy best {study.folder} --pareto"
        )


def _others(recorded: Schedule) -> tuple[Schedule, ...]:
    """The study's own without the trials that it keeps, and every other kind."""
    kinds = [replace(recorded.keeping_none, kind=kind) for kind in KINDS]
    return tuple(one for one in kinds if one != recorded)


def _limits(record: ArmRecord, budget: float | None, trials: int | None) -> Limits:
    own = record.budget if record.priced else None
    return Limits(budget=own if budget is None else budget, trials=record.cap if trials is None else trials)


def _agreement(record: ArmRecord, outcomes: Sequence[Outcome]) -> Agreement:
    ended = [one for one in outcomes if one.trial.state in ("COMPLETE", "PRUNED")]
    return Agreement(arm=record.arm, trials=len(ended), agreeing=sum(map(_agrees, ended)))


def _agrees(one: Outcome) -> bool:
    if one.trial.state == "COMPLETE":
        return one.finished is YES
    same = one.trial.stopped_by in (None, one.stopped_by)  # an older kdstudy did not keep the reason
    return one.stopped_by is not None and same and one.least == one.most == one.trial.iterations


def _arm(record: ArmRecord, schedule: Schedule, limits: Limits, outcomes: Sequence[Outcome]) -> ArmReplay:
    failed = [one for one in outcomes if one.trial.state == "FAIL"]
    counted = [one for one in outcomes if one.begun is not NO and one.trial.state != "FAIL"]
    surely, possibly = [[one for one in counted if one.finished >= level] for level in (YES, MAYBE)]
    least, most = (sum(one.cost[side] for one in [*counted, *failed]) for side in (0, 1))
    cost = Bounds(least, max(least, min(most, _most_spent(record, limits))))
    best = _best(surely, possibly)
    winner, top = record.winner, None
    if winner is not None:
        top = next(one for one in outcomes if one.trial.number == winner.number)
    return ArmReplay(
        arm=record.arm,
        schedule=schedule,
        limits=limits,
        trials=Bounds(sum(one.begun is YES for one in counted), min(len(counted), limits.trials or len(counted))),
        stopped=Bounds(
            sum(one.stopped_by is not None for one in counted),
            sum(one.finished is not YES and one.trial.state != "RUNNING" for one in counted),
        ),
        finished=Bounds(len(surely), len(possibly)),
        cost=cost,
        saved=Bounds(*(record.spent - bound for bound in (cost.high or 0.0, cost.low or 0.0))),
        best=best,
        regret=_regret(winner.score if winner else None, best),
        winner=winner.number if winner else None,
        winner_stopped=_stopped_at(top),
        winner_kept=top is not None and top.finished is YES,
        unknown=sum(one.beyond for one in counted),
        unused=None if limits.budget is None else max(0.0, limits.budget - (cost.high or 0.0)),
        priced=record.priced,
    )


def _most_spent(record: ArmRecord, limits: Limits) -> float:
    """An arm ends by at most one evaluation of one trial above its budget."""
    return math.inf if limits.budget is None else limits.budget + max(t.price * t.every for t in record.trials)


def _best(surely: Sequence[Outcome], possibly: Sequence[Outcome]) -> Bounds:
    """That of the trials that finish; unbounded where none surely does, or one may whose score nobody knows."""
    low = max((one.trial.score for one in surely if one.trial.score is not None), default=None)
    known = [one.trial.score for one in possibly if one.trial.score is not None]
    return Bounds(low, None if len(known) < len(possibly) or not known else max(known))


def _regret(stored: float | None, best: Bounds) -> Bounds:
    if stored is None:
        return Bounds(None, None)
    low, high = (None if bound is None else stored - bound for bound in (best.high, best.low))
    return Bounds(low, high)


def _stopped_at(winner: Outcome | None) -> int | None:
    if winner is None or (winner.begun is not NO and winner.stopped_by is None):
        return None
    return winner.least


def _notes(
    study: Study, records: Sequence[ArmRecord], arms: Sequence[ArmReplay], agreements: Sequence[Agreement]
) -> tuple[str, ...]:
    if not records:
        return ("no arm that searches has an ended trial, so there is nothing to replay",)
    sampler = study.config.get("search", {}).get("sampler", "tpe")
    learning = "would have suggested other settings after other results"
    learns = learning if sampler in LEARNING else "does not depend on results"
    notes = [
        f"settings stay as they were suggested; the sampler, {sampler}, {learns}",
        "reports come in the order in which they came; where several trials ran at a time, another schedule would have "
        "changed it",
    ]
    notes += [
        f"{one.arm}: the study's own schedule gives {one.agreeing} of {one.trials} decisions back; the others were "
        "made between reports whose order is not stored, or under a budget that was raised since"
        for one in agreements
        if one.agreeing < one.trials
    ]
    if any(one.unknown for one in arms):
        notes.append(
            "where a trial would have gone on beyond what was trained, any score is allowed for: numbers are bounds"
        )
    if any(trial.earliest_stop is None and trial.state != "RUNNING" for record in records for trial in record.trials):
        notes.append("the tables do not say which trials early stopping never judges; all are taken to be judged")
    if not all(record.priced for record in records):
        notes.append("the study has no costs: it began before they were priced, so iterations are counted instead")
    return tuple(notes)

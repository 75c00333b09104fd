"""How well early evaluations rank trials: the rank correlation of each rung with the end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from analysis.replay.record import ArmRecord, Trial, What
from analysis.replay.schedule import Schedule
from analysis.replay.simulation import rung_iterations

FEWEST = 4
"""Trials below which a rank correlation says nothing."""
SHARES = (1 / 27, 1 / 9, 1 / 3, 2 / 3)
"""Of a whole trial: where a schedule without rungs is looked at."""


@dataclass(frozen=True, kw_only=True)
class RungRank:
    """How an evaluation ranks trials.

    Attributes:
        arm: its name.
        iteration: of the rung; a trial counts by its first evaluation at or after it.
        trials: that are compared.
        tau: Kendall's tau-b of their scores there with their scores at the end; None where it says nothing.
        selected: whether they are only those that early stopping let finish, which are more alike than all: the
            correlation of all trials is higher than theirs, or lower.
    """

    arm: str
    iteration: int
    trials: int
    tau: float | None
    selected: bool


def rung_ranks(record: ArmRecord, schedule: Schedule) -> Iterator[RungRank]:
    """One for each rung of an arm, as its schedule has them or at shares of a whole trial.

    Over the trials that the schedule lets run through, where it does; else over all, where none was stopped; else over
    those that finished.
    """
    finished = [(place, trial) for place, trial in enumerate(record.trials) if trial.score is not None]
    stopped = any(trial.stopped_by == "pruning" for trial in record.trials)
    if schedule.keep_every is not None:
        finished = [(place, trial) for place, trial in finished if schedule.keeps(trial.number)]
    for rung in rung_iterations(schedule, record) or _evaluations(record):
        pairs = np.array(list(_pairs(record, finished, rung)))
        tau = _tau(pairs) if len(pairs) >= FEWEST else None
        selected = stopped and schedule.keep_every is None
        yield RungRank(arm=record.arm, iteration=rung, trials=len(pairs), tau=tau, selected=selected)


def _evaluations(record: ArmRecord) -> list[int]:
    """The first evaluations from some shares of a whole trial on, but the last one."""
    found = np.unique(record.iteration[record.what == What.REPORT])
    places = np.searchsorted(found, [share * record.whole for share in SHARES])
    return sorted({int(found[place]) for place in places if place < len(found) and found[place] < record.whole})


def _pairs(record: ArmRecord, finished: list[tuple[int, Trial]], rung: int) -> Iterator[tuple[float, float]]:
    """The score at the rung, and that at the end, of each trial that has both."""
    late = np.flatnonzero((record.what == What.REPORT) & (record.iteration >= rung))
    order = late[np.lexsort((record.iteration[late], record.place[late]))]
    places, first = np.unique(record.place[order], return_index=True)
    scores = dict(zip(places.tolist(), record.score[order[first]].tolist(), strict=True))
    for place, trial in finished:
        if place in scores and trial.score is not None and np.isfinite(scores[place]):
            yield scores[place], trial.score


def _tau(pairs: NDArray[np.float64]) -> float | None:
    tau = float(kendalltau(pairs[:, 0], pairs[:, 1]).statistic)
    return None if np.isnan(tau) else tau

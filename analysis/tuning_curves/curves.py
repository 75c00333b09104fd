"""Tuning curves: the best mIoU found against the cost of the search, of each arm.

There are two. The path is what the search found by then: of a sampler that learns from results it is one of many that
might have been, and no trial may be put elsewhere in it. The expectation is over the order of trials, and only of those
whose settings do not depend on results, and which were not stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.studies.constraints import feasible
from analysis.studies.study import Study
from analysis.tuning import COUNTED, arm_tunings
from analysis.tuning_curves.order import best_at, best_of

Reals = NDArray[np.float64]
INDEPENDENT = ("random", "qmc", "grid")
"""Samplers whose settings do not depend on results."""
FEWEST = 3
"""Trials below which an order says nothing."""
POINTS = 100
"""Costs at which a curve over drawn orders is looked at."""
ROUNDING = 1e-6
"""Share by which costs may differ and still count as equal."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """The best found so far, in the order in which trials ended.

    Attributes:
        cost: whole trials of the plain student that were spent when a trial ended that beat all before it [steps].
        miou_percent: the best by then [steps].
        trial: which [steps].
        spent: by the whole search.
    """

    cost: tuple[float, ...]
    miou_percent: tuple[float, ...]
    trial: tuple[int, ...]
    spent: float

    def at(self, cost: float) -> float | None:
        """The best found within a cost; None where nothing had finished."""
        found = [score for by, score in zip(self.cost, self.miou_percent, strict=True) if by <= cost * (1 + ROUNDING)]
        return found[-1] if found else None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The best found within a cost, over the order of trials.

    Attributes:
        trials: that are ordered.
        stopped: such trials that were left out because they were stopped; those that were not are better than all.
        kept: whether they are only those that `pruning.keep_every` let run to their end, which nobody chose.
        closed: whether all cost the same, so that it is the closed form and not drawn.
        cost: in whole trials of the plain student [points].
        mean, low, high: mIoU in percent, and where 90 % of the orders lie [points].
    """

    trials: int
    stopped: int
    kept: bool
    closed: bool
    cost: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ArmCurve:
    """The curves of an arm; None, and a sentence in `missing`, where there is none to be had.

    Attributes:
        arm: its name.
        path: as the search went.
        expectation: over the order of trials.
        missing: why one is not there.
    """

    arm: str
    path: Path | None
    expectation: Expectation | None
    missing: tuple[str, ...]


def arm_curves(study: Study) -> tuple[ArmCurve, ...]:
    """Every arm that searches and of which a trial has ended, in the study's order."""
    return tuple(curve_of(study.trials, one.arm, study.objective, study.config) for one in arm_tunings(study))


def curve_of(trials: pa.Table, arm: str, objective: str, config: Mapping[str, Any]) -> ArmCurve:
    """The curves of one arm.

    Args:
        trials: in the columns of the table of trials.
        arm: of it.
        objective: the column that the search maximised.
        config: of the study, as plain values.
    """
    rows = trials.filter((pc.field("arm") == arm) & pc.field("state").isin(COUNTED))
    if not rows.num_rows:
        return _without(arm, f"{arm}: all of its trials failed, so nothing was found")
    if rows["cost_trials"].null_count:
        said = "has no costs: the study began before costs were priced, so there is no cost to draw against"
        return _without(arm, f"{arm} {said}")
    if not rows.filter(_finished(objective)).num_rows:
        return _without(arm, f"{arm}: no trial has used its whole budget, all {rows.num_rows} were stopped before")
    kept = rows.filter(_finished(objective) & feasible(config))
    if not kept.num_rows:
        return _without(arm, f"{arm}: no finished trial keeps the bounds of the search")
    expectation, missing = _expectation(rows, arm, objective, config)
    path = _path(rows, kept["trial"], objective)
    return ArmCurve(arm=arm, path=path, expectation=expectation, missing=() if missing is None else (missing,))


def _without(arm: str, missing: str) -> ArmCurve:
    return ArmCurve(arm=arm, path=None, expectation=None, missing=(missing,))


def _finished(objective: str) -> pc.Expression:
    return (pc.field("state") == "COMPLETE") & pc.field(objective).is_valid()


def _path(rows: pa.Table, kept: pa.ChunkedArray, objective: str) -> Path:
    """The path of an arm; `kept` are the numbers of the trials that may be its best."""
    ordered = rows.sort_by([("ended", "ascending"), ("trial", "ascending")])
    spent = np.cumsum(ordered["cost_trials"].to_numpy())
    scores = ordered[objective].to_numpy(zero_copy_only=False).astype(np.float64)
    scores = np.where(pc.is_in(ordered["trial"], kept.combine_chunks()).to_numpy(), scores, np.nan)
    best = np.fmax.accumulate(scores)
    steps = np.flatnonzero(best > np.concatenate([[-np.inf], np.nan_to_num(best[:-1], nan=-np.inf)]))
    return Path(
        cost=tuple(spent[steps].tolist()),
        miou_percent=tuple(best[steps].tolist()),
        trial=tuple(ordered["trial"].to_numpy()[steps].tolist()),
        spent=float(spent[-1]),
    )


def _expectation(
    rows: pa.Table, arm: str, objective: str, config: Mapping[str, Any]
) -> tuple[Expectation | None, str | None]:
    """The curve over orders, or why there is none."""
    sampler = config.get("search", {}).get("sampler", "tpe")
    keep_every = config.get("pruning", {}).get("keep_every")
    if sampler not in INDEPENDENT:
        enqueued = config.get("arms", {}).get(arm, {}).get("enqueue", ())
        rows = rows.filter(pc.field("trial") < int(config.get("startup_trials", 0)) + len(enqueued))
    kept = bool(keep_every) and pc.any(pc.equal(rows["stopped_by"], "pruning")).as_py() is True
    if kept:
        whole = pc.multiply(pc.divide(rows["trial"], keep_every), keep_every)
        rows = rows.filter(pc.equal(whole, rows["trial"]))
    finished = rows.filter(_finished(objective) & feasible(config))
    if finished.num_rows < FEWEST:
        which = "settings that do not depend on results" if sampler in INDEPENDENT else "startup settings"
        return None, (
            f"{arm}: {finished.num_rows} finished trials have {which}, too few for an expectation over their order, "
            f"which needs {FEWEST}"
        )
    stopped = rows.num_rows - rows.filter(_finished(objective)).num_rows
    return _over_orders(finished, objective, stopped=stopped, kept=kept), None


def _over_orders(finished: pa.Table, objective: str, *, stopped: int, kept: bool) -> Expectation:
    scores, costs = (finished[name].to_numpy().astype(np.float64) for name in (objective, "cost_trials"))
    closed = bool(np.ptp(costs) <= ROUNDING * costs.max())
    if closed:
        at = costs.mean() * np.arange(1, len(scores) + 1)
        best = best_of(scores)
    else:
        at = np.linspace(costs.max(), costs.sum(), POINTS)
        best = best_at(scores, costs, at)
    cost, mean, low, high = (tuple(column.tolist()) for column in (at, *best))
    return Expectation(
        trials=len(scores), stopped=stopped, kept=kept, closed=closed, cost=cost, mean=mean, low=low, high=high
    )

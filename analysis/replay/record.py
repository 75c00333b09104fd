"""What a study stored of an arm's search, as a replay needs it: trials, and what happened to them in its order."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.studies.study import PARAMETER, Study
from analysis.tuning import COUNTED, REPLICATE

EVERY, ITERATIONS = "train/evaluate_every", "train/iterations"
COLUMNS = ["arm", "trial", "iteration", "miou_percent", "time"]


class What(IntEnum):
    """What happened to a trial; of what has one time, in this order."""

    REPORT = 0
    END = 1
    START = 2


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as it is stored.

    Attributes:
        number: Optuna's.
        state: COMPLETE, PRUNED, FAIL, or RUNNING where it has no end yet.
        iterations: at which it ended.
        whole: iterations of a trial that is not stopped.
        every: iterations between its evaluations.
        price: of an iteration, in the record's unit.
        earliest_stop: iteration from which on it may be judged; None where the tables do not say.
        stopped_by: "pruning", "budget", or None.
        score: mIoU in percent by the study's objective, of a trial that is COMPLETE; else None.
    """

    number: int
    state: str
    iterations: int
    whole: int
    every: int
    price: float
    earliest_stop: int | None
    stopped_by: str | None
    score: float | None

    @property
    def never_judged(self) -> bool:
        """Whether its weighting holds it against no other trial."""
        return self.earliest_stop is not None and self.earliest_stop >= self.whole


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """An arm that searches.

    Attributes:
        arm: its name.
        study_name: of its Optuna study.
        whole: iterations of a whole trial that does not search them.
        trials: in the order of their numbers.
        what, place, iteration, score: of everything that happened in its order [events]: which kind, to which of
            `trials`, at which iteration, and what early stopping compares there.
        priced: whether costs are in whole trials of the plain student; else they are in iterations.
        budget: what the arm might spend, in whole trials of the plain student; None where its trials were counted.
        cap: trials that it might have; None for as many as its budget paid.
    """

    arm: str
    study_name: str
    whole: int
    trials: tuple[Trial, ...]
    what: NDArray[np.int8]
    place: NDArray[np.int64]
    iteration: NDArray[np.int64]
    score: NDArray[np.float64]
    priced: bool
    budget: float | None
    cap: int | None

    @property
    def grace(self) -> int | None:
        """The first rung that the arm had; None where the tables do not say, or no trial may be judged."""
        known = (trial.earliest_stop for trial in self.trials if not trial.never_judged)
        return min((stop for stop in known if stop is not None), default=None)

    @property
    def spent(self) -> float:
        """What the trials that did not fail cost."""
        return sum(trial.price * trial.iterations for trial in self.trials if trial.state in COUNTED)

    @property
    def winner(self) -> Trial | None:
        """The best finished trial; of equals the first."""
        finished = [trial for trial in self.trials if trial.score is not None]
        return max(finished, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)


def arm_records(study: Study) -> list[ArmRecord]:
    """The arms of a study that search and of which a trial has ended, in the study's order."""
    arms: Mapping[str, Mapping[str, Any]] = study.config.get("arms", {})
    there = sorted(set(study.trials["arm"].to_pylist()))
    ordered = [*(name for name in arms if name in there), *(name for name in there if name not in arms)]
    reports = _reports(study)
    return [_record(study, arm, reports) for arm in ordered if _searches(study, arm)]


def _searches(study: Study, arm: str) -> bool:
    rows = study.trials.filter(pc.field("arm") == arm)
    column = PARAMETER + REPLICATE
    return column not in rows.column_names or rows[column].null_count == rows.num_rows


def _reports(study: Study) -> pa.Table:
    try:
        return study.table("reports", COLUMNS)
    except FileNotFoundError:  # none was written yet, or none can be read
        types = [pa.string(), pa.int64(), pa.int64(), pa.float64(), pa.timestamp("ms", tz="UTC")]
        return pa.schema(list(zip(COLUMNS, types, strict=True))).empty_table()


def _record(study: Study, arm: str, reports: pa.Table) -> ArmRecord:
    rows = study.trials.filter(pc.field("arm") == arm).sort_by("trial")
    mine = reports.filter(pc.field("arm") == arm)
    chosen: Mapping[str, Any] = study.config.get("arms", {}).get(arm, {})
    ended = {trial.number: trial for trial in _trials(study, chosen, rows)}
    running = set(pc.unique(mine["trial"]).to_pylist()) - ended.keys()
    usual = _usual(list(ended.values()))
    begun = {number: replace(usual, number=number) for number in running}
    trials = tuple(one for _, one in sorted({**ended, **begun}.items()))
    what, place, iteration, score = _events(study, trials, rows, mine)
    cap = chosen.get("trials")
    return ArmRecord(
        arm=arm,
        study_name=f"{study.name}/{arm}",
        whole=int(chosen.get("fixed", {}).get(ITERATIONS, study.config.get("train", {}).get("iterations", 0)))
        or usual.whole,
        trials=trials,
        what=what,
        place=place,
        iteration=iteration,
        score=score,
        priced=_is_priced(rows),
        budget=_budget(study, chosen, rows),
        cap=None if cap is None else int(cap),
    )


def _usual(ended: Sequence[Trial]) -> Trial:
    """What is taken for a trial that has no end yet, of which the tables say nothing else."""
    return Trial(
        number=-1,
        state="RUNNING",
        iterations=0,
        whole=max(trial.whole for trial in ended),
        every=ended[0].every,
        price=median(trial.price for trial in ended),
        earliest_stop=min((t.earliest_stop for t in ended if t.earliest_stop is not None), default=None),
        stopped_by=None,
        score=None,
    )


def _is_priced(rows: pa.Table) -> bool:
    counted = rows.filter(pc.field("state").isin(COUNTED))["cost_trials"]
    return bool(len(counted)) and not counted.null_count


def _trials(study: Study, chosen: Mapping[str, Any], rows: pa.Table) -> Iterator[Trial]:
    column = PARAMETER + EVERY
    usual = chosen.get("fixed", {}).get(EVERY, study.config.get("train", {}).get("evaluate_every", 1))
    names = ["trial", "state", "iterations", "budget", "earliest_stop", "stopped_by", "cost_trials", study.objective]
    searched = [column] if column in rows.column_names else []
    priced = _is_priced(rows)
    paid = [
        cost / done
        for cost, done in zip(rows["cost_trials"].to_pylist(), rows["iterations"].to_pylist(), strict=True)
        if cost is not None and done
    ]
    for row in rows.select([*names, *searched]).to_pylist():
        known = priced and row["cost_trials"] is not None and row["iterations"]
        price = row["cost_trials"] / row["iterations"] if known else median(paid) if priced and paid else 1.0
        yield Trial(
            number=row["trial"],
            state=row["state"],
            iterations=row["iterations"],
            whole=row["budget"],
            every=int(row.get(column) or usual),
            price=price,
            earliest_stop=row["earliest_stop"],
            stopped_by=row["stopped_by"],
            score=row[study.objective] if row["state"] == "COMPLETE" else None,
        )


def _budget(study: Study, chosen: Mapping[str, Any], rows: pa.Table) -> float | None:
    """The arm's budget in whole trials of the plain student."""
    given: Mapping[str, Any] = chosen.get("budget") or study.config.get("budget") or {}
    if (whole := given.get("whole_trials")) is not None:
        return float(whole)
    if (iterations := given.get("iterations")) is not None:
        return float(iterations) / int(study.config["train"]["iterations"])
    if (seconds := given.get("seconds")) is None:
        return None
    paid = rows.filter((pc.field("cost_trials") > 0) & pc.field("cost").is_valid()).slice(0, 1).to_pylist()
    return float(seconds) * paid[0]["cost_trials"] / paid[0]["cost"] if paid else None


def _events(
    study: Study, trials: tuple[Trial, ...], rows: pa.Table, reports: pa.Table
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Starts, reports and ends by their times; of one time reports come first, as their table has them."""
    numbers = np.array([trial.number for trial in trials])
    place = np.searchsorted(numbers, reports["trial"].to_numpy())
    iteration = reports["iteration"].to_numpy()
    score = reports["miou_percent"].to_numpy(zero_copy_only=False).astype(np.float64)
    at = np.searchsorted(numbers, rows["trial"].to_numpy())
    started, ended = (_milliseconds(rows[name]) for name in ("started", "ended"))
    time = _known_times(_milliseconds(reports["time"]), place, iteration, dict(zip(at.tolist(), started, strict=True)))
    if study.evaluation == "best":
        score = _best_so_far(score, place, iteration)
    count = len(at)
    kinds = np.repeat([What.REPORT, What.END, What.START], [len(place), count, count]).astype(np.int8)
    places = np.concatenate([place, at, at])
    times = np.concatenate([time, ended, started])
    order = np.lexsort((kinds, times))
    iterations = np.concatenate([iteration, np.zeros(2 * count, np.int64)])
    scores = np.concatenate([score, np.full(2 * count, math.nan)])
    return kinds[order], places[order], iterations[order], scores[order]


def _milliseconds(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Since 1970; NaN where there is none."""
    found: NDArray[np.float64] = pc.cast(pc.cast(column, pa.int64()), pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _known_times(
    times: NDArray[np.float64], place: NDArray[np.int64], iteration: NDArray[np.int64], started: Mapping[int, float]
) -> NDArray[np.float64]:
    """The times of reports, where a row that was put back after a damage has that of the trial's report before it."""
    for row in np.flatnonzero(np.isnan(times)).tolist():
        before = times[(place == place[row]) & (iteration < iteration[row]) & ~np.isnan(times)]
        times[row] = before.max() if before.size else started.get(int(place[row]), -math.inf)
    return times


def _best_so_far(
    score: NDArray[np.float64], place: NDArray[np.int64], iteration: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The highest score of each trial up to each of its reports, by its iterations."""
    order = np.lexsort((iteration, place))
    best = np.empty_like(score)
    for rows in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        best[rows] = np.fmax.accumulate(score[rows]) if len(rows) else score[rows]
    return best

"""Gradient conflict: how the distillation terms of an arm pull beside its task loss, over trials and iterations."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.studies.study import Study

POINTS = 40
"""Of a course, at most; of more probes neighbours are averaged, each trial's for itself."""
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
"""Quantiles over trials."""
READ = ("trial", "iteration", "stage", "term", "term_norm", "cosine", "norm_ratio")
CONFLICTS = pa.schema(
    [
        ("stage", pa.string()),
        ("term", pa.string()),
        ("trials", pa.int64()),
        ("probes", pa.int64()),
        ("median_cosine", pa.float64()),
        ("conflicting_percent", pa.float64()),
        ("median_norm_ratio", pa.float64()),
    ]
)
"""Columns of `conflicts`."""
QUANTITIES = ("cosine", "norm_ratio")
COURSES = pa.schema(
    [
        ("stage", pa.string()),
        ("term", pa.string()),
        ("iteration", pa.float64()),
        ("trials", pa.int64()),
        *((f"{name}{end}", pa.float64()) for name in QUANTITIES for end in ("", "_low", "_high")),
    ]
)
"""Columns of `courses`."""


def gradients(study: Study, arm: str) -> pa.Table:
    """The rows of the table `gradients` of an arm, columns READ; none where no step was probed.

    Of the trials that used their whole budget, so that the same ones are behind all iterations; where there is none
    yet, of all.
    """
    mine = pc.field("arm") == arm
    whole = study.ended.filter(mine & (pc.field("state") == "COMPLETE"))["trial"].to_pylist()
    try:
        return study.table("gradients", READ, mine & pc.field("trial").isin(whole) if whole else mine)
    except FileNotFoundError:  # of an older kdstudy, or none can be read
        return pa.table({name: pa.nulls(0) for name in READ})


def conflicts(rows: pa.Table) -> pa.Table:
    """What came of all probes of each term, by stage.

    Args:
        rows: as of `gradients`.

    Returns:
        Columns CONFLICTS. `conflicting_percent` is the share of negative ones among all cosines; null, as the medians
        are, where the term has none.
    """
    found = pa.Table.from_pylist([_conflict(part) for part in _parts(rows, ["stage", "term"])], CONFLICTS)
    return found.sort_by([("stage", "ascending"), ("term", "ascending")])


def _conflict(rows: pa.Table) -> dict[str, Any]:
    cosines, ratios = (_known(rows, name) for name in QUANTITIES)
    return {
        **_first(rows, ["stage", "term"]),
        "trials": pc.count_distinct(rows["trial"]).as_py(),
        "probes": rows.num_rows,
        "median_cosine": float(np.median(cosines)) if len(cosines) else None,
        "conflicting_percent": 100 * float(np.mean(cosines < 0)) if len(cosines) else None,
        "median_norm_ratio": float(np.median(ratios)) if len(ratios) else None,
    }


def courses(rows: pa.Table) -> pa.Table:
    """The median over trials, and the quantiles LOW and HIGH, against the iteration.

    Args:
        rows: as of `gradients`.

    Returns:
        Columns COURSES, in the order of iterations: at most POINTS of each term, and more where trials change stage at
        different iterations. `iteration` is the mean over the probes of a point.
    """
    if not rows.num_rows:
        return COURSES.empty_table()
    at = rows["iteration"].to_numpy()
    known, place = np.unique(at, return_inverse=True)
    points = min(POINTS, len(known))
    placed = rows.append_column("point", pa.array(place * points // len(known)))
    parts = [part for one in _parts(placed, ["stage", "term"]) for part in _parts(_of_trials(one), ["point"])]
    found = pa.Table.from_pylist([_point(part) for part in parts], COURSES)
    return found.sort_by([(name, "ascending") for name in ("term", "iteration")])


def _of_trials(placed: pa.Table) -> pa.Table:
    """The means of each trial at each point of one term's course."""
    means = [(name, "mean") for name in ("iteration", *QUANTITIES)]
    found = placed.group_by(["point", "trial"]).aggregate(means)
    names = {name: pa.repeat(placed[name][0], found.num_rows) for name in ("stage", "term")}
    return pa.table({**names, **{name: found[name] for name in found.column_names}})


def _point(of_trials: pa.Table) -> dict[str, Any]:
    point = {
        **_first(of_trials, ["stage", "term"]),
        "iteration": pc.mean(of_trials["iteration_mean"]).as_py(),
        "trials": of_trials.num_rows,
    }
    for name in QUANTITIES:
        values = _known(of_trials, f"{name}_mean")
        low, middle, high = np.quantile(values, [LOW, MIDDLE, HIGH]) if len(values) else (None, None, None)
        point |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return point


def unreached(rows: pa.Table) -> list[str]:
    """The terms without a gradient by the student's last feature map in any probe."""
    reached = rows.filter(pc.is_valid(rows["term_norm"]))["term"].unique().to_pylist()
    return sorted(set(rows["term"].unique().to_pylist()) - set(reached))


def _parts(rows: pa.Table, keys: Sequence[str]) -> list[pa.Table]:
    """The rows of each value of the keys, in no order."""
    if not rows.num_rows:
        return []
    codes = np.zeros(rows.num_rows, np.int64)
    for key in keys:  # numbers in the place of names, of which millions sort slowly
        coded = rows[key].combine_chunks().dictionary_encode(null_encoding="encode")
        codes = codes * len(coded.dictionary) + coded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    ordered = rows.take(order)
    return [ordered.slice(start, end - start) for start, end in pairwise([*starts.tolist(), rows.num_rows])]


def _first(rows: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    return {name: rows[name][0].as_py() for name in names}


def _known(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(rows[name].drop_null().to_numpy(), np.float64)

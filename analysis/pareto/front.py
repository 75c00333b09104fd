"""The Pareto front: the trials that no other is as good as in every objective and better than in one.

Trials of equal values do not dominate each other, so all of them are in the front or none is. A trial that lacks a
value of an objective, or whose value is not finite, takes no part.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def front(rows: pa.Table, objectives: Mapping[str, bool]) -> pa.Table:
    """The rows of the front, in their order.

    Args:
        rows: with a column of numbers for each objective.
        objectives: by column, whether it is to be high.
    """
    return rows.filter(pa.array(in_front(rows, objectives)))


def valued(rows: pa.Table, names: Iterable[str]) -> pa.Table:
    """The rows that have a finite number in each of these columns."""
    numbers = np.column_stack([_numbers(rows[name]) for name in names])
    return rows.filter(pa.array(np.isfinite(numbers).all(1)))


def in_front(rows: pa.Table, objectives: Mapping[str, bool]) -> NDArray[np.bool_]:
    """Which rows are in the front [rows]; the arguments are those of `front`."""
    losses = np.column_stack([_numbers(rows[name]) * (-1 if high else 1) for name, high in objectives.items()])
    takes_part = np.isfinite(losses).all(1)
    found = np.zeros(rows.num_rows, dtype=bool)
    if takes_part.any():
        # sorted by the first objective, then the second and so on: what dominates a point stands before it
        points, place = np.unique(losses[takes_part], axis=0, return_inverse=True)
        found[takes_part] = _undominated(points)[place.reshape(-1)]
    return found


def _numbers(values: pa.ChunkedArray) -> Reals:
    """A column as real numbers [rows], NaN where there is none."""
    return np.asarray(pc.fill_null(values.cast(pa.float64()), np.nan), dtype=np.float64)


def _undominated(points: Reals) -> NDArray[np.bool_]:
    """Which of different points [points, objectives] in ascending order no other is as low as everywhere [points]."""
    kept = np.zeros(len(points), dtype=bool)
    lowest = np.empty_like(points)
    number = 0
    for index, point in enumerate(points):
        if not (lowest[:number] <= point).all(1).any():
            lowest[number], kept[index] = point, True
            number += 1
    return kept

"""The Pareto front: the trials that no other is as good as in every objective and better than in one.

Trials of equal values do not dominate each other, so all of them are in the front or none is. A trial that lacks a
value of an objective, or whose value is not finite, takes no part.
"""

from collections.abc import Mapping

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


def in_front(rows: pa.Table, objectives: Mapping[str, bool]) -> NDArray[np.bool_]:
    """Which rows are in the front [rows]; the arguments are those of `front`."""
    losses = np.column_stack([_losses(rows[name], high=high) for name, high in objectives.items()])
    valued = np.isfinite(losses).all(1)
    found = np.zeros(rows.num_rows, dtype=bool)
    if valued.any():
        # sorted by the first objective, then the second and so on: what dominates a point stands before it
        points, place = np.unique(losses[valued], axis=0, return_inverse=True)
        found[valued] = _undominated(points)[place.reshape(-1)]
    return found


def _losses(values: pa.ChunkedArray, *, high: bool) -> Reals:
    """Numbers that are to be low [rows], NaN where there is none."""
    numbers = pc.fill_null(values.cast(pa.float64()), np.nan).to_numpy().astype(np.float64)
    return np.negative(numbers) if high else np.asarray(numbers)


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

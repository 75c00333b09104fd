"""The front against comparing every two rows."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest

from analysis.pareto.front import front, in_front

Value = float | None


def dominates(one: list[Value], other: list[Value], high: list[bool]) -> bool:
    """By the definition: nowhere worse, somewhere better."""
    pairs = [(a, b) if up else (b, a) for a, b, up in zip(one, other, high, strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)  # type: ignore[operator]


def has_values(row: list[Value]) -> bool:
    return all(value is not None and math.isfinite(value) for value in row)


def brute_force(rows: list[list[Value]], high: list[bool]) -> list[bool]:
    valued = [row for row in rows if has_values(row)]
    return [has_values(row) and not any(dominates(other, row, high) for other in valued) for row in rows]


def drawn(seed: int, count: int, objectives: int, *, whole: bool) -> list[list[Value]]:
    """Rows with ties and copies, where `whole`, and holes of every kind."""
    rng = random.Random(seed)
    holes = (None, math.nan, math.inf, -math.inf)
    rows: list[list[Value]] = []
    for _ in range(count):
        row = [float(rng.randrange(6)) if whole else rng.gauss(0, 1) for _ in range(objectives)]
        rows.append([rng.choice(holes) if rng.random() < 0.05 else value for value in row])
    return rows + rng.sample(rows, count // 4)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("whole", [True, False], ids=["ties", "reals"])
@pytest.mark.parametrize("seed", range(8))
def test_it_equals_comparing_all_with_all(seed: int, objectives: int, whole: bool) -> None:
    rows = drawn(seed, 60, objectives, whole=whole)
    high = [bool((seed >> place) & 1) for place in range(objectives)]
    names = [f"objective {place}" for place in range(objectives)]
    table = pa.table({name: pa.array([row[n] for row in rows], pa.float64()) for n, name in enumerate(names)})
    asked = dict(zip(names, high, strict=True))
    expected = brute_force(rows, high)
    assert in_front(table, asked).tolist() == expected
    kept = [row for row, inside in zip(rows, expected, strict=True) if inside]
    assert [list(row.values()) for row in front(table, asked).to_pylist()] == kept
    assert 0 < sum(expected) < len(rows)


def test_equal_trials_are_in_it_together() -> None:
    table = pa.table({"miou": [50.0, 50.0, 49.0], "cost": [3, 3, 3]})
    assert in_front(table, {"miou": True, "cost": False}).tolist() == [True, True, False]


def test_a_table_without_rows_or_values_has_none() -> None:
    empty = pa.table({"miou": pa.array([], pa.float64()), "cost": pa.array([], pa.int64())})
    assert front(empty, {"miou": True, "cost": False}).num_rows == 0
    unknown = pa.table({"miou": [50.0], "cost": pa.array([None], pa.float64())})
    assert front(unknown, {"miou": True, "cost": False}).num_rows == 0


def test_ten_thousand_trials_that_nearly_all_lie_on_it() -> None:
    angle = np.linspace(0, np.pi / 2, 10_000)
    table = pa.table({"miou": np.sin(angle), "cost": 1 - np.cos(angle)})
    assert front(table, {"miou": True, "cost": False}).num_rows == 10_000

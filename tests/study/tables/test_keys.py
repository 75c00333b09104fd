"""Keys: a set of tuples, however they come."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from study.tables import ENVIRONMENT, REPORTS, trials_schema
from study.tables.keys import Keys

COLUMNS = ["arm", "trial", "iteration"]


def rows(keys: list[tuple[str, int, int]]) -> pa.Table:
    return pa.Table.from_arrays(list(zip(*keys, strict=True)), COLUMNS)


def drawn(count: int, seed: int) -> list[tuple[str, int, int]]:
    random = np.random.default_rng(seed)
    return [("kd" if a else "rdd", int(t), int(i)) for a, t, i in random.integers(0, (2, 5, 40), (count, 3))]


@pytest.mark.parametrize("seed", range(3))
def test_keys_are_those_of_a_set(seed: int) -> None:
    stored, more, added = drawn(60, seed), drawn(60, seed + 10), drawn(60, seed + 20)
    keys = Keys(REPORTS, COLUMNS)
    keys.add_all(rows(stored))
    keys.add_all(rows(more))
    for key in added:
        keys.add(key)
    expected = {*stored, *more, *added}
    every = [(arm, trial, i) for arm in ("kd", "rdd", "no") for trial in range(6) for i in range(-1, 42)]
    assert {key for key in every if key in keys} == expected


def test_a_key_of_texts_alone() -> None:
    keys = Keys(ENVIRONMENT, ["session"])
    keys.add_all(pa.table({"session": ["b", "a"]}))
    keys.add(("c",))
    assert [key for key in "abcd" if (key,) in keys] == ["a", "b", "c"]


def test_a_key_of_an_arm_and_a_number() -> None:
    keys = Keys(trials_schema({}), ["arm", "trial"])
    keys.add_all(pa.table({"arm": ["kd", "kd", "rdd"], "trial": [3, 1, 2]}))
    assert [(arm, n) for arm in ("kd", "rdd") for n in range(4) if (arm, n) in keys] == [
        ("kd", 1),
        ("kd", 3),
        ("rdd", 2),
    ]


def test_a_key_takes_little_more_than_eight_bytes() -> None:
    keys = Keys(REPORTS, COLUMNS)
    count = 50_000
    keys.add_all(pa.table({"arm": ["kd"] * count, "trial": [0] * count, "iteration": range(count)}))
    (numbers,) = keys._numbers.values()
    assert len(numbers) == count and sys.getsizeof(numbers) < 10 * count

"""How optimistic a choice is, against simulations and a naive loop."""

import math

import numpy as np
import pytest

from analysis.statistics import miou_percent, selection_optimism
from tests.analysis.statistics.made import naive_miou, random_counts, rates


@pytest.mark.parametrize("trials", [2, 10])
def test_the_optimism_of_a_choice_among_equals_is_what_the_best_of_them_owes_to_chance(trials: int) -> None:
    rng = np.random.default_rng(7)
    owed, told = [], []
    for repeat in range(150):
        hardness = rng.normal(50, 8, (1, 41))
        counts = rates((hardness + rng.normal(0, 3, (trials, 41))) / 100)
        scores = miou_percent(counts.sum(1))
        owed.append(scores.max() - hardness.mean())
        told.append(selection_optimism(counts, draws=100, seed=repeat).estimate)
    assert np.mean(told) == pytest.approx(np.mean(owed), rel=0.12)


def test_a_choice_that_any_images_would_make_is_not_optimistic() -> None:
    rng = np.random.default_rng(8)
    quality = np.array([10.0, 0.0, 0.0])[:, None]
    counts = rates((50 + quality + rng.normal(0, 1, (3, 30))) / 100)
    found = selection_optimism(counts)
    assert found.estimate == pytest.approx(0, abs=0.02)
    assert (found.n, selection_optimism(counts[:1]).estimate) == (3, pytest.approx(0))


def test_optimism_is_that_of_halves() -> None:
    counts = random_counts(np.random.default_rng(9), 4, 6, 5)
    found = selection_optimism(counts, draws=3, seed=2)
    order = np.random.default_rng(2).permuted(np.tile(np.arange(6), (3, 1)), axis=1)
    values = []
    for place in order:
        halves = [counts[:, place < 3].sum(1), counts[:, place >= 3].sum(1)]
        scores = [[naive_miou(trial) for trial in half] for half in halves]
        lost = 0.0
        for one, other in (scores, scores[::-1]):
            best = one.index(max(one))
            lost += one[best] - other[best]
        values.append(lost / 2 / math.sqrt(2))
    assert found.estimate == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


@pytest.mark.parametrize("shape", [(0, 4, 2, 3), (2, 1, 2, 3), (4, 2, 3)])
def test_nothing_to_choose_from_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two images or more"):
        selection_optimism(np.ones(shape, np.int64))

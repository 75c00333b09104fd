"""The best of the first n trials: closed forms, held against every order."""

import itertools
import math

import numpy as np
import pytest

from analysis.tuning_curves.order import QUANTILES, best_at, best_of

SCORES = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0])


def test_the_expected_best_of_n_is_the_mean_over_all_subsets() -> None:
    found = best_of(SCORES)
    for size in range(1, len(SCORES) + 1):
        best = sorted(max(chosen) for chosen in itertools.combinations(SCORES, size))
        assert found.mean[size - 1] == pytest.approx(np.mean(best))
        low, high = (best[math.ceil(share * len(best)) - 1] for share in QUANTILES)
        assert (found.low[size - 1], found.high[size - 1]) == (low, high)
    assert found.mean[0] == pytest.approx(SCORES.mean()) and found.mean[-1] == SCORES.max()


def test_of_uniform_scores_it_is_n_of_n_plus_one() -> None:
    """The first moments of order statistics: of 0 ... N - 1 the expected best of n is n (N + 1) / (n + 1) - 1."""
    number = 2000
    size = np.arange(1, number + 1)
    expected = size * (number + 1) / (size + 1) - 1
    assert best_of(np.arange(number, dtype=float)).mean == pytest.approx(expected, rel=1e-9)


def test_trials_of_equal_cost_are_drawn_as_the_closed_form_says() -> None:
    exact = best_of(SCORES)
    drawn = best_at(SCORES, np.full(6, 0.5), 0.5 * np.arange(1, 7))
    assert drawn.mean == pytest.approx(exact.mean, abs=5 * SCORES.std() / math.sqrt(1000))
    assert drawn.low == pytest.approx(exact.low) and drawn.high == pytest.approx(exact.high)


def test_of_trials_of_different_cost_the_mean_is_that_over_all_orders() -> None:
    costs = np.array([1.0, 0.2, 0.7, 0.4, 1.0, 0.3])
    at = np.array([1.0, 1.5, 2.5, costs.sum()])
    expected = np.zeros(len(at))
    orders = list(itertools.permutations(range(6)))
    for order in orders:
        spent = np.cumsum(costs[list(order)])
        for place, cost in enumerate(at):
            finished = int((spent <= cost * (1 + 1e-9)).sum())
            expected[place] += SCORES[list(order[:finished])].max() / len(orders)
    assert best_at(SCORES, costs, at).mean == pytest.approx(expected, abs=5 * SCORES.std() / math.sqrt(1000))
    assert best_at(SCORES, costs, at).mean[-1] == 9.0

"""Student's t over seeds, alone and jointly for differences that share arms."""

import math

import numpy as np
import pytest
from scipy.stats import kstest, t

from analysis.statistics import mean_over_seeds, paired_over_seeds
from analysis.statistics.seeds import seed_deviations, seed_noise

TO_BASELINE = [(1, 0), (2, 0), (3, 0)]
ALL = [(a, b) for a in range(4) for b in range(a)]


def test_the_mean_over_seeds_has_students_interval() -> None:
    found = mean_over_seeds([1.0, 2.0, 4.0])
    half = 4.302653 * math.sqrt(7 / 3) / math.sqrt(3)
    assert (found.estimate, found.n) == (pytest.approx(7 / 3), 3)
    assert (found.low, found.high) == (pytest.approx(7 / 3 - half), pytest.approx(7 / 3 + half))
    one = mean_over_seeds([5.0])
    assert (one.estimate, one.low, one.high, one.n) == (5.0, None, None, 1)
    for wrong in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="finite values"):
            mean_over_seeds(wrong)


def test_pairs_over_seeds() -> None:
    found = paired_over_seeds([3.0, 5.0, 4.0], [2.0, 3.0, 4.0])
    assert (found.estimate, found.n) == (1.0, 3)
    assert found.high == pytest.approx(1 + 4.302653 / math.sqrt(3))
    # t = sqrt(3) with two degrees: 1/2 + t / (2 sqrt(2 + t²))
    assert found.chance == pytest.approx(0.5 + math.sqrt(3) / (2 * math.sqrt(5)))
    assert paired_over_seeds([1.0], [2.0]).chance is None
    assert paired_over_seeds([1.0, 1.0], [2.0, 2.0]).chance == pytest.approx(0)
    assert paired_over_seeds([1.0, 1.0], [1.0, 1.0]).chance == pytest.approx(0.5)
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_over_seeds([1.0, 2.0], [1.0])


def test_variances_are_pooled_over_the_differences_with_their_degrees_of_freedom() -> None:
    scores = np.random.default_rng(0).normal(50, 1, (4, 5))
    found = seed_noise(scores, TO_BASELINE)
    variances = [np.var(scores[a] - scores[b], ddof=1) for a, b in TO_BASELINE]
    assert found.errors == pytest.approx(np.full(3, math.sqrt(np.mean(variances) / 5)))
    # three variances that correlate by 1/4: 9 / (3 + 6 / 4) = 2 times S - 1
    assert found.freedom == pytest.approx(np.full(3, 8.0))
    # for all pairs the pool is twice the residual mean square of the layout seed x arm, with (A - 1)(S - 1) degrees
    residuals = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    found = seed_noise(scores, ALL)
    assert found.freedom == pytest.approx(np.full(6, 12.0))
    assert found.errors**2 * 5 == pytest.approx(np.full(6, 2 * (residuals**2).sum() / 12))


def test_one_difference_is_paired_t() -> None:
    scores = np.random.default_rng(1).normal(50, 1, (2, 5))
    found = seed_noise(scores, [(1, 0)])
    assert found.errors == pytest.approx(np.std(scores[1] - scores[0], ddof=1) / math.sqrt(5))
    assert (found.freedom.tolist(), found.own.tolist()) == ([4.0], [False])


def test_an_outlying_arm_keeps_its_own_noise() -> None:
    scores = np.random.default_rng(2).normal(50, 1, (7, 5))
    scores[3] += [40, -40, 20, -20, 0]
    pairs = [(arm, 0) for arm in range(1, 7)]
    found = seed_noise(scores, pairs)
    assert found.own.tolist() == [False, False, True, False, False, False]
    assert found.errors[2] == pytest.approx(np.std(scores[3] - scores[0], ddof=1) / math.sqrt(5))
    assert found.freedom[2] == 4
    without = seed_noise(scores, [pair for pair in pairs if pair != (3, 0)])
    assert found.errors[0] == pytest.approx(without.errors[0]) and found.freedom[0] == without.freedom[0]


def test_joint_draws_are_t_each_and_correlate_by_the_arm_that_they_share() -> None:
    noise = seed_noise(np.random.default_rng(3).normal(50, 1, (4, 9)), ALL)
    drawn = seed_deviations(noise, ALL, 20_000, np.random.default_rng(4)) / noise.errors
    for column, freedom in zip(drawn.T, noise.freedom, strict=True):
        assert np.sort(column) == pytest.approx(t.ppf((np.arange(20_000) + 0.5) / 20_000, freedom))
    found = np.corrcoef(drawn.T)
    for n, (a, b) in enumerate(ALL):
        for m, (c, d) in enumerate(ALL):
            expected = ((a == c) - (a == d) - (b == c) + (b == d)) / 2
            assert found[n, m] == pytest.approx(expected, abs=0.04)
    other = seed_deviations(noise, ALL, 20_000, np.random.default_rng(5)) / noise.errors
    assert kstest(other[:, 0] - other[:, 1], drawn[:, 0] - drawn[:, 1]).pvalue > 1e-4

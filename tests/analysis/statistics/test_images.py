"""Groups of images: how many there are, and how far a bootstrap of them reaches."""

import numpy as np
import pytest

from analysis.statistics import effective_groups
from analysis.statistics.images import common_share, grouped, resampled, resamples, scales
from tests.analysis.statistics.made import random_counts


def test_effective_groups_are_as_many_equal_ones_as_tell_as_much() -> None:
    assert effective_groups(None, 7) == 7
    assert effective_groups(np.array(["a", "b", "a", "b", "c", "c"]), 6) == pytest.approx(3)
    assert effective_groups(np.array([0] * 101), 101) == 1
    assert effective_groups(np.array([0] * 8 + [1, 2]), 10) == pytest.approx(100 / 66)


def test_the_counts_of_a_group_are_summed_and_a_resample_takes_it_whole() -> None:
    counts = random_counts(np.random.default_rng(0), 2, 6, 4)
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    found = grouped(counts, groups)
    assert found.tolist() == [[run[groups == name].sum(0).tolist() for name in "abc"] for run in counts]
    weights = resamples(3, 4, np.random.default_rng(1))
    assert (weights.sum(1) == 3).all()
    drawn = resampled(found, weights)
    assert drawn.shape == (2, 4, 4, 3)
    assert drawn[1, 2].tolist() == sum(n * group for n, group in zip(weights[2], found[1], strict=True)).tolist()


@pytest.mark.parametrize("groups", [8, 40])
def test_a_bootstrap_of_groups_holds_the_mean_in_95_of_100_cases(groups: int) -> None:
    """Of plain means of normal numbers, where Student's t is exact."""
    rng = np.random.default_rng(groups)
    held = 0
    for _ in range(400):
        values = rng.normal(0, 1, groups)
        weights = resamples(groups, 1000, rng) / groups
        deviations = (weights @ values - values.mean()) * scales(groups, 1000, rng)
        low, high = values.mean() + np.quantile(deviations, [0.025, 0.975])
        held += low <= 0 <= high
    assert 0.925 <= held / 400 <= 0.975


def test_what_all_seeds_share_is_told_from_what_each_has() -> None:
    rng = np.random.default_rng(3)
    common, own = rng.normal(0, 1, (1, 4000)), rng.normal(0, 1, (5, 4000))
    assert common_share(common + 0 * own) == pytest.approx(1)
    assert common_share(own) < 0.3
    # the mean over seeds has variance 1 + 1 / 5, of which 1 is shared
    assert common_share(common + own) == pytest.approx(np.sqrt(1 / 1.2), abs=0.02)
    assert common_share(np.zeros((3, 10))) == 1

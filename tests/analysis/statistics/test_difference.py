"""One difference against a naive loop, and its intervals against simulations whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from analysis.statistics import difference_over_images, miou_percent, paired_over_seeds
from tests.analysis.statistics.made import pair, random_counts


def test_a_difference_is_a_paired_bootstrap_over_groups_of_images() -> None:
    """Each deviation of a resample is stretched for the number of groups, and by a chi2 of its own."""
    rng = np.random.default_rng(1)
    a, b = random_counts(rng, 20, 5), random_counts(rng, 20, 5)
    groups = np.arange(20) // 2
    found = difference_over_images(a, b, groups, draws=50, seed=3)
    weights = np.random.default_rng([3, 0]).multinomial(10, [1 / 10] * 10, size=50)
    classes = range(4)  # the last one has no label

    def miou(counts: np.ndarray) -> float:
        return sum(100 * counts[n, 0] / max(counts[n].sum(), 1) for n in classes) / len(classes)

    estimate = miou(a.sum(0)) - miou(b.sum(0))
    stretched = np.random.default_rng([3, 1]).permutation(
        math.sqrt(10 / 9) / np.sqrt(chi2.ppf((np.arange(50) + 0.5) / 50, 9) / 9)
    )
    draws = []
    for times, factor in zip(weights, stretched, strict=True):
        of_a, of_b = (sum(n * x[2 * g : 2 * g + 2].sum(0) for g, n in enumerate(times)) for x in (a, b))
        draws.append(estimate + factor * (miou(of_a) - miou(of_b) - estimate))
    assert found.estimate == pytest.approx(estimate)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert found.chance == pytest.approx((sum(draw > 0 for draw in draws) + 1) / 52)
    assert (found.images, found.groups, found.seeds) == (20, 10, 1)
    rare = found.classes[2]
    assert rare is not None and rare.n == ((a[:, 2].sum(1) + b[:, 2].sum(1)) > 0).sum() < 20
    assert found.classes[-1] is None


def test_few_groups_leave_the_seeds_alone() -> None:
    a, b = pair(np.random.default_rng(9), seeds=4, of_seed=1.0, of_image=5.0)
    found = difference_over_images(a, b, np.zeros(40, np.int64))
    alone = paired_over_seeds(miou_percent(a.sum(1)), miou_percent(b.sum(1)))
    assert not found.over_images and found.groups == 1
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), rel=2e-3)
    one = difference_over_images(a[:1], b[:1], np.zeros(40, np.int64))
    assert (one.low, one.high, one.chance, one.p_value, one.detectable) == (None,) * 5
    assert one.classes[0] is not None and one.classes[0].low is None


def test_a_difference_is_repeatable_and_has_a_sign() -> None:
    rng = np.random.default_rng(2)
    a, b = random_counts(rng, 3, 12, 4), random_counts(rng, 3, 12, 4)
    found = difference_over_images(a, b, seed=5)
    assert found == difference_over_images(a, b, seed=5)
    assert found != difference_over_images(a, b, seed=6)
    other = difference_over_images(b, a, seed=5)
    assert other.estimate == pytest.approx(-found.estimate)
    assert found.chance is not None and other.chance == pytest.approx(1 - found.chance, abs=0.05)
    assert difference_over_images(a[:1], b[:1]) == difference_over_images(a[0], b[0])


def test_no_evidence_is_never_certain() -> None:
    a, b = pair(np.random.default_rng(3), gain=9.0)
    chance = difference_over_images(a, b).chance
    assert chance == pytest.approx(1, abs=1e-3) and chance < 1
    same = difference_over_images(a, a)
    assert (same.estimate, same.low, same.high, same.chance, same.p_value) == (0, 0, 0, 0.5, 1)


@pytest.mark.parametrize(
    "noise",
    [
        {"of_image": 2.0},
        {"seeds": 3, "of_seed": 1.0, "of_both": 1.0},
        {"seeds": 5, "of_seed": 0.3, "of_image": 2.0, "of_both": 2.0},
        {"seeds": 5, "of_both": 3.0},
    ],
    ids=["images", "seeds", "seeds and images", "neither in common"],
)
def test_intervals_hold_the_truth_in_95_of_100_cases(noise: dict[str, float]) -> None:
    rng = np.random.default_rng(4)
    trials = 300
    held = 0
    for repeat in range(trials):
        a, b = pair(rng, gain=1.0, **noise)  # type: ignore[arg-type]
        found = difference_over_images(a, b, draws=400, seed=repeat)
        held += found.low <= 1.0 <= found.high
    assert 0.92 <= held / trials <= 0.98


def test_images_that_all_seeds_share_are_counted_once() -> None:
    """Noise of its own in every seed and image is not in the seeds' spread and the images' spread both."""
    found = [difference_over_images(*pair(np.random.default_rng(s), seeds=20, of_both=5.0)) for s in range(30)]
    width = float(np.mean([one.high - one.low for one in found]))
    assert width == pytest.approx(2 * 2.09 * 5 / math.sqrt(20 * 40), rel=0.1)  # t of 19 degrees at 97.5 % is 2.09


@pytest.mark.parametrize(("seeds", "of_seed", "of_image"), [(1, 0.0, 2.0), (5, 1.0, 0.2)])
def test_the_smallest_detectable_difference_is_found_in_80_of_100_cases(
    seeds: int, of_seed: float, of_image: float
) -> None:
    rng = np.random.default_rng(6)

    def evidence(gain: float, repeat: int) -> tuple[float, bool]:
        a, b = pair(rng, seeds=seeds, of_seed=of_seed, of_image=of_image, gain=gain)
        found = difference_over_images(a, b, draws=400, seed=repeat)
        return found.detectable, found.low > 0

    # it goes with the spread, of which the square is right on average
    detectable = math.sqrt(np.mean([evidence(0.0, repeat)[0] ** 2 for repeat in range(100)]))
    power = float(np.mean([evidence(detectable, repeat)[1] for repeat in range(300)]))
    assert power == pytest.approx(0.8, abs=0.07)
    if seeds == 1:
        assert detectable == pytest.approx(2.8 * of_image / math.sqrt(40), rel=0.05)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((4, 2, 3), (5, 2, 3), r"\[4, 2, 3\] and \[5, 2, 3\]"),
        ((4, 2, 2), (4, 2, 2), "must both be"),
        ((2, 3), (2, 3), "must both be"),
        ((1, 2, 3), (1, 2, 3), "two or more, but got 1"),
    ],
)
def test_counts_that_do_not_compare_are_refused(a: tuple[int, ...], b: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        difference_over_images(np.ones(a, np.int64), np.ones(b, np.int64))

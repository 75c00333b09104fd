"""Formulas against naive loops, and intervals against simulations whose truth is known."""

import math
import warnings

import numpy as np
import pytest

from analysis.statistics import (
    Counts,
    difference_over_images,
    holm,
    iou_percent,
    mean_over_seeds,
    miou_percent,
    paired_over_seeds,
    selection_optimism,
)

PIXELS = 10_000


def rates(shares: np.ndarray) -> Counts:
    """Counts of one class that every image has in PIXELS pixels, found by these shares; its IoU is their mean."""
    hits = np.rint(PIXELS * shares).astype(np.int64)
    return np.stack([hits, np.zeros_like(hits), PIXELS - hits], axis=-1)[..., None, :]


def pair(
    rng: np.random.Generator,
    *,
    seeds: int = 1,
    images: int = 40,
    gain: float = 0.0,
    of_seed: float = 0.0,
    of_image: float = 0.0,
    of_both: float = 0.0,
) -> tuple[Counts, Counts]:
    """Two arms that differ by `gain` points, by seeds, by images and by both; all that in points."""
    hardness = rng.normal(50, 8, (1, images))
    noise = (
        rng.normal(0, of_seed, (seeds, 1))
        + rng.normal(0, of_image, (1, images))
        + rng.normal(0, of_both, (seeds, images))
    )
    shared = np.broadcast_to(hardness, (seeds, images))
    return rates((shared + gain + noise) / 100), rates(shared / 100)


def random_counts(rng: np.random.Generator, *shape: int) -> Counts:
    counts: Counts = rng.integers(0, 50, (*shape, 3))
    counts[..., 2, :] *= rng.random((*counts.shape[:-2], 1)) < 0.3  # a class that few images have
    counts[..., -1, :] = 0  # and one that none has
    return counts


def naive_miou(counts: np.ndarray) -> float:
    ious = [100 * tp / (tp + fp + fn) for tp, fp, fn in counts.tolist() if tp + fp + fn]
    return sum(ious) / len(ious)


def test_miou_is_of_the_summed_counts_and_leaves_absent_classes_out() -> None:
    counts = random_counts(np.random.default_rng(0), 7, 5)
    summed = counts.sum(0)
    assert miou_percent(summed) == pytest.approx(naive_miou(summed))
    assert miou_percent(counts).tolist() == pytest.approx([naive_miou(image) for image in counts])
    assert np.isnan(iou_percent(summed)[-1]) and not np.isnan(iou_percent(summed)[:-1]).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(miou_percent(np.zeros((4, 3))))


def test_a_difference_is_a_paired_bootstrap_over_images() -> None:
    rng = np.random.default_rng(1)
    a, b = random_counts(rng, 9, 5), random_counts(rng, 9, 5)
    found = difference_over_images(a, b, draws=50, seed=3)
    weights = np.random.default_rng(3).multinomial(9, [1 / 9] * 9, size=50)
    draws, of_class = [], []
    for times in weights:
        of_a, of_b = (sum((n * image for n, image in zip(times, x, strict=True)), np.zeros((5, 3))) for x in (a, b))
        draws.append(naive_miou(of_a) - naive_miou(of_b))
        of_class.append(100 * (of_a[0, 0] / of_a[0].sum() - of_b[0, 0] / of_b[0].sum()))
    assert found.estimate == pytest.approx(naive_miou(a.sum(0)) - naive_miou(b.sum(0)))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert found.chance == pytest.approx((sum(draw > 0 for draw in draws) + 1) / 52)
    assert (found.images, found.seeds) == (9, 1)
    first = found.classes[0]
    assert first is not None and first.n == 9
    assert (first.low, first.high) == pytest.approx(tuple(np.quantile(of_class, [0.025, 0.975])))
    rare = found.classes[2]
    assert rare is not None and rare.n == ((a[:, 2].sum(1) + b[:, 2].sum(1)) > 0).sum() < 9
    assert found.classes[-1] is None


def test_a_difference_is_repeatable_and_has_a_sign() -> None:
    rng = np.random.default_rng(2)
    a, b = random_counts(rng, 3, 12, 4), random_counts(rng, 3, 12, 4)
    found = difference_over_images(a, b, seed=5)
    assert found == difference_over_images(a, b, seed=5)
    assert found != difference_over_images(a, b, seed=6)
    other = difference_over_images(b, a, seed=5)
    assert other.estimate == pytest.approx(-found.estimate)
    assert other.chance == pytest.approx(1 - found.chance, abs=0.05)
    assert difference_over_images(a[:1], b[:1]) == difference_over_images(a[0], b[0])


def test_no_evidence_is_never_certain() -> None:
    a, b = pair(np.random.default_rng(3), gain=9.0)
    assert difference_over_images(a, b).chance == pytest.approx(1, abs=1e-3)
    assert difference_over_images(a, b).chance < 1
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


def test_holm_adjusts_from_the_smallest_p_value_on() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, and none below one before it
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []

"""Families of differences: intervals and p values that agree, common draws, failures, ranks, and what is shown."""

import numpy as np
import pytest

from analysis.statistics import Counts, MethodDifference, difference_over_images, judge, miou_percent, paired_over_seeds
from analysis.statistics.families import simultaneous
from tests.analysis.statistics.made import rates


def study(gains: list[float], *, seeds: int = 5, images: int = 40, of_arm: float = 1.0, random: int = 0) -> Counts:
    """Arms of these gains, the baseline first; the images are harder or easier for all alike."""
    rng = np.random.default_rng(random)
    points = rng.normal(50, 8, images) + rng.normal(0, of_arm, (len(gains), seeds, 1)) + np.array(gains)[:, None, None]
    return rates((points + rng.normal(0, 0.5, points.shape)) / 100)


def test_one_method_over_seeds_alone_is_a_paired_t_test() -> None:
    counts = study([0, 1])
    found = judge(counts, np.zeros(40, np.int64)).differences[0]
    scores = miou_percent(counts.sum(2))
    alone = paired_over_seeds(scores[1], scores[0])
    assert found.estimate == pytest.approx(alone.estimate)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), rel=2e-3)
    assert alone.chance is not None
    assert found.p_value == pytest.approx(2 * min(alone.chance, 1 - alone.chance), abs=2e-4)


def test_one_method_over_images_is_the_plain_difference() -> None:
    counts = study([0, 1], of_arm=0.2)
    found, plain = judge(counts).differences[0], difference_over_images(counts[1], counts[0])
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=0.01)
    assert found.detectable == pytest.approx(plain.detectable, rel=0.01)


@pytest.mark.parametrize("level", [0.05, 0.04, 0.0025])
def test_an_interval_leaves_zero_where_p_is_at_most_the_level(level: float) -> None:
    """Also for differences that lie within a draw of the limit."""
    deviations = np.random.default_rng(1).standard_t(3, (4000, 4))
    low, high, _, alpha = simultaneous(np.zeros(4), deviations, level)
    for end in (low, high):
        for nudge in (-1e-9, 0.0, 1e-9):
            estimates = -end + nudge
            a, b, p_values, _ = simultaneous(estimates, deviations, level)
            assert (((a > 0) | (b < 0)) == (p_values <= level)).all()
    outside = ((deviations < low) | (deviations > high)).any(1).mean()
    assert outside == pytest.approx(level, abs=0.004) and level / 8 <= alpha <= level


def test_p_values_allow_for_the_family_and_have_no_floor_that_forbids_better() -> None:
    deviations = np.random.default_rng(1).standard_t(9, (4000, 10))
    _, _, alone, _ = simultaneous(np.array([2.5]), deviations[:, :1], 0.05)
    _, _, among, _ = simultaneous(np.full(10, 2.5), deviations, 0.05)
    assert among[0] == pytest.approx(1 - (1 - alone[0]) ** 10, abs=0.02)
    large = judge(study([0, 30, *[0.0] * 24], seeds=3))
    assert large.differences[0].is_better and large.differences[0].p_value is not None
    assert large.differences[0].p_value < 0.001


def test_the_same_data_give_the_same_answer_whatever_the_seed_of_the_draws() -> None:
    """What 2,000 random draws of t told from 0.039 to 0.082."""
    counts = study([0, 1.6], seeds=5, random=3)
    first = judge(counts)
    assert judge(counts) == first
    others = [judge(counts, seed=seed).differences[0].p_value or 0 for seed in range(1, 6)]
    assert np.ptp(others) < 0.004


def test_arms_that_are_equal_in_every_image_do_not_differ() -> None:
    counts = study([0, 0])
    found = judge(np.stack([counts[0], counts[0], counts[1]]))
    same = found.differences[0]
    assert (same.estimate, same.p_value, same.is_better, same.is_worse) == (0, 1, False, False)


def test_failed_seeds_leave_a_method_without_verdict_and_the_others_as_they_are() -> None:
    counts = study([0, 3, 3, 0])
    finished = np.ones((4, 5), bool)
    finished[1, [0, 3]] = False
    found = judge(counts, finished=finished)
    failed = found.differences[0]
    assert (failed.low, failed.p_value, failed.detectable, failed.seeds, failed.failed) == (None, None, None, 3, 2)
    assert failed.outcome(1.0) == "no verdict" and failed.within is None
    scores = miou_percent(counts.sum(2))
    assert failed.estimate == pytest.approx((scores[1] - scores[0])[[1, 2, 4]].mean())
    assert found.differences[1:] == judge(counts[[0, 2, 3]]).differences
    assert found.best_shares[1] is None and not found.not_worse[1]
    of_base = judge(counts, finished=finished[[1, 0, 2, 3]])
    assert all(one.outcome(1.0) == "no verdict" for one in of_base.differences)
    assert of_base.seed_points is None
    none = judge(counts, finished=np.zeros((4, 5), bool))
    assert [one.estimate for one in none.differences] == [None] * 3


def test_one_seed_has_a_difference_and_no_interval() -> None:
    found = judge(study([0, 3], seeds=1)).differences[0]
    assert found.estimate is not None and (found.low, found.high, found.p_value) == (None, None, None)


def test_ranks_are_shares_of_draws_and_contenders_are_not_shown_worse() -> None:
    found = judge(study([0, 9, 9.1, 4], of_arm=0.3))
    shares = [share or 0 for share in found.best_shares]
    assert sum(shares) == pytest.approx(1) and shares[1] + shares[2] > 0.999
    assert found.not_worse == (False, True, True, False)


def test_images_of_few_groups_are_taken_as_given() -> None:
    counts = study([0, 1])
    few, many = judge(counts, np.arange(40) // 6), judge(counts, np.arange(40) // 2)
    assert (few.over_images, many.over_images) == (False, True)
    assert (few.groups, many.groups) == (pytest.approx(1600 / (6 * 36 + 16)), 20)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected", "within"),
    [
        (0.1, 0.8, 1.0, "better", 0.8),
        (-2.0, -0.1, 1.0, "worse", 2.0),
        (-0.4, 0.9, 1.0, "no different", 0.9),
        (-0.4, 1.1, 1.0, "open", 1.1),
        (-0.4, 0.9, 0.5, "open", 0.9),
        (None, None, 1.0, "no verdict", None),
    ],
)
def test_what_an_interval_shows(
    low: float | None, high: float | None, margin: float, expected: str, within: float | None
) -> None:
    found = MethodDifference(0.5, low, high, 0.01, 1.0, 5, 0)
    assert (found.outcome(margin), found.within) == (expected, within)


@pytest.mark.parametrize(
    ("shape", "groups", "finished", "message"),
    [
        ((2, 3, 4, 5), None, None, "must be .arms, seeds, images, classes, 3."),
        ((1, 3, 4, 5, 3), None, None, "two arms, a seed and two images"),
        ((2, 3, 1, 5, 3), None, None, r"but got \[2, 3, 1, 5, 3\]"),
        ((2, 3, 4, 5, 3), 3, None, "got 3 for 4 images"),
        ((2, 3, 4, 5, 3), None, (2, 2), r"= \[2, 3\], but got \[2, 2\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    shape: tuple[int, ...], groups: int | None, finished: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        judge(
            np.ones(shape, np.int64),
            None if groups is None else np.arange(groups),
            None if finished is None else np.ones(finished, bool),
        )

"""How many seeds show what: as the verdict on such seeds would say, and never fewer for less."""

import numpy as np
import pytest

from analysis.statistics import Counts, judge
from analysis.statistics.planning import MOST_SEEDS, Noise, seeds_needed, smallest_shown
from analysis.verdict.noise import noise_of_family
from tests.analysis.statistics.made import rates

LEVEL = 0.04
ONE_GROUP = np.zeros(40, np.int64)


def made(arms: int, seeds: int) -> Counts:
    """Arms that differ in seeds and in images."""
    rng = np.random.default_rng(1)
    points = 50 + rng.normal(0, 1, (arms, seeds, 1)) + rng.normal(0, 3, (arms, 1, 40))
    return rates((points + rng.normal(0, 0.5, (arms, seeds, 40))) / 100)


@pytest.mark.parametrize("seeds", [3, 8])
@pytest.mark.parametrize("methods", [1, 3])
@pytest.mark.parametrize("groups", [ONE_GROUP, None], ids=["these images", "other images"])
def test_it_is_what_the_verdict_on_such_seeds_says(seeds: int, methods: int, groups: np.ndarray | None) -> None:
    found = judge(made(methods + 1, seeds), groups, level=LEVEL)
    noise = noise_of_family(found)
    assert (noise.image_points > 0) == (groups is None)
    said = [one.detectable for one in found.differences if one.detectable is not None]
    assert len(said) == methods
    shown = smallest_shown(noise, seeds=seeds, methods=methods, level=LEVEL)
    # of the methods' images each has a variance of its own, of which the plan knows the mean
    assert shown == pytest.approx(np.mean(said), rel=0.03 if groups is not None else 0.1)


def test_one_method_has_the_power_of_a_paired_t_test() -> None:
    noise, rng = Noise(seed_points=1.0), np.random.default_rng(0)
    seeds = seeds_needed(noise, 1.0, methods=1, level=LEVEL)
    assert seeds is not None
    differences = rng.normal(1.0, 1.0, (20_000, seeds))
    t = differences.mean(1) / differences.std(1, ddof=1) * np.sqrt(seeds)
    nulls = rng.normal(0.0, 1.0, (20_000, seeds))
    critical = np.quantile(np.abs(nulls.mean(1) / nulls.std(1, ddof=1) * np.sqrt(seeds)), 1 - LEVEL)
    assert 0.78 < (t > critical).mean() < 0.88


def test_smaller_differences_more_noise_and_more_methods_take_more_seeds() -> None:
    def needed(points: float, *, noise: float = 1.0, methods: int = 1) -> int:
        found = seeds_needed(Noise(seed_points=noise), points, methods=methods, level=LEVEL)
        assert found is not None
        return found

    assert needed(0.5) > needed(1.0) > needed(2.0) >= 2
    assert needed(1.0, noise=2.0) == needed(0.5)
    assert needed(0.5, methods=8) > needed(0.5)
    fewest = needed(0.5)
    for seeds, enough in ((fewest, True), (fewest - 1, False)):
        shown = smallest_shown(Noise(seed_points=1.0), seeds=seeds, methods=1, level=LEVEL)
        assert (shown <= 0.5) is enough


def test_seeds_do_not_lessen_what_images_add() -> None:
    noise = Noise(seed_points=0.5, image_points=0.5, groups=20)
    assert seeds_needed(noise, 1.0, methods=1, level=LEVEL) is None
    assert seeds_needed(noise, 2.0, methods=1, level=LEVEL) is not None
    assert smallest_shown(noise, seeds=MOST_SEEDS, methods=1, level=LEVEL) > 1.0


def test_without_noise_two_seeds_show_everything() -> None:
    assert seeds_needed(Noise(seed_points=0.0), 0.5, methods=3, level=LEVEL) == 2

"""How many seeds it takes to show a difference, before any of them has run, by the rules of the verdict on them.

The intervals are those that a verdict would give differences as noisy as each other: paired by seed, joint over all
methods, with the degrees of freedom of their pooled variances, on images that are drawn or given.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt

import numpy as np

from analysis.statistics import images
from analysis.statistics.families import DRAWS, simultaneous
from analysis.statistics.power import detectable
from analysis.statistics.scores import Reals
from analysis.statistics.seeds import foreseen_noise, seed_deviations, signs_of

MOST_SEEDS = 1000


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise of the difference between two settings.

    Attributes:
        seed_points: standard deviation over seeds of the difference of mIoU between two runs of one seed, in points.
        image_points: its standard error from images, in points; 0 where these are taken as given.
        groups: of independent images.
    """

    seed_points: float
    image_points: float = 0.0
    groups: float = inf


@lru_cache(maxsize=256)
def smallest_shown(noise: Noise, *, seeds: int, methods: int, level: float) -> float:
    """The smallest difference, in points, that so many seeds would show in 80 % of studies.

    Args:
        noise: of each method's difference to the baseline.
        seeds: of each setting, two or more.
        methods: beside the baseline.
        level: two-sided, of all methods together.
    """
    if not noise.seed_points and not noise.image_points:
        return 0.0
    pairs = [(arm, 0) for arm in range(1, methods + 1)]
    rng = np.random.default_rng(0)
    of_seeds = foreseen_noise(noise.seed_points, seeds, pairs)
    deviations = seed_deviations(of_seeds, pairs, DRAWS, rng)
    if noise.image_points:
        deviations = deviations + _image_deviations(noise, methods, rng)
    low, high, _, alpha = simultaneous(np.zeros(methods), deviations, level)
    return detectable(
        float((high - low).mean()) / 2,
        alpha,
        float(of_seeds.errors[0]) ** 2,
        float(of_seeds.freedom[0]),
        noise.image_points**2,
        noise.groups - 1,
    )


def _image_deviations(noise: Noise, methods: int, rng: np.random.Generator) -> Reals:
    """Joint draws [draws, methods] of what images add to the differences, which share the baseline."""
    signs = signs_of([(arm, 0) for arm in range(1, methods + 1)])
    normal = rng.standard_normal((DRAWS, methods + 1)) @ signs.T / sqrt(2)
    # `image_points` has been corrected for the groups already, which `scales` does too
    scale = images.scales(noise.groups, DRAWS, rng) * sqrt((noise.groups - 1) / noise.groups)
    deviations: Reals = noise.image_points * scale[:, None] * normal
    return deviations


def seeds_needed(noise: Noise, points: float, *, methods: int, level: float) -> int | None:
    """The fewest seeds, two or more, that show a difference of so many points in 80 % of studies.

    Args:
        noise: of each method's difference to the baseline.
        points: the true difference.
        methods: beside the baseline.
        level: two-sided, of all methods together.

    Returns:
        None where MOST_SEEDS do not: what images add does not become less.
    """
    found = bisect_left(
        range(2, MOST_SEEDS + 1),
        -points,
        key=lambda seeds: -smallest_shown(noise, seeds=seeds, methods=methods, level=level),
    )
    return None if found == MOST_SEEDS - 1 else found + 2

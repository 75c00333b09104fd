"""What other images would have given: groups of images are resampled, the same ones for everything that is compared.

Frames of one drive are alike, so that not the images but their groups are independent. A bootstrap of G groups gives
deviations that are sqrt((G - 1) / G) too small on average, and takes their size as known, which G groups only estimate.
So the deviations are multiplied by sqrt(G / (G - 1)) and divided by sqrt(chi2 / (G - 1)), with one draw of chi2 with
G - 1 degrees of freedom for all that is compared. Below FEWEST_GROUPS that would be a guess, and nothing is resampled.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from analysis.statistics.scores import Counts, Reals

FEWEST_GROUPS = 8
"""Effective groups below which nothing is said about other images."""
RESAMPLES = 5000
"""Of groups. Draws of the seeds' part are more, as their tails are heavier and cost nothing."""
Groups = NDArray[np.int64] | NDArray[np.str_] | None
"""[images]: the group of each image, by any values; None where each image is its own."""


def effective_groups(groups: Groups, images: int) -> float:
    """(sum n)^2 / sum n^2 for groups of n images: how many equal groups tell as much."""
    if groups is None:
        return float(images)
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def grouped(counts: Counts, groups: Groups) -> Reals:
    """Counts [..., groups, classes, 3] summed over the images of each group, from [..., images, classes, 3]."""
    if groups is None:
        return counts.astype(np.float64)
    number = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(number.max() + 1))
    summed: Reals = np.add.reduceat(counts[..., order, :, :], starts, axis=-3).astype(np.float64)
    return summed


def resamples(groups: int, number: int, rng: np.random.Generator) -> Reals:
    """How often each group is in a resample [number, groups]."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=number).astype(np.float64)


def resampled(runs: Reals, weights: Reals) -> Reals:
    """Counts [runs, resamples, classes, 3] of runs [runs, groups, classes, 3] on each resample."""
    number, groups, classes, kinds = runs.shape
    # all runs in one product: a matrix of three columns alone would take many times as long
    flat = np.moveaxis(runs, 0, 1).reshape(groups, -1)
    return np.moveaxis((weights @ flat).reshape(-1, number, classes, kinds), 1, 0)


def scales(groups: float, draws: int, rng: np.random.Generator) -> Reals:
    """What the deviations of a bootstrap of so many effective groups are multiplied with [draws]."""
    freedom = groups - 1
    chi2 = 2 * gammaincinv(freedom / 2, (np.arange(draws) + 0.5) / draws)
    factors: Reals = rng.permutation(math.sqrt(groups / freedom) / np.sqrt(chi2 / freedom))
    return factors


def common_share(drawn: Reals) -> Reals:
    """What part of the images' deviations all seeds share [...]; the rest is in the seeds' own spread already.

    With v the variance over resamples of the mean over seeds and w that of a single seed, the variance particular to
    seeds is (w - v) / (seeds - 1), so 1 - that / v of v is common.

    Args:
        drawn: differences on resampled images [seeds, resamples, ...], of two seeds or more.
    """
    mean, single = _variance(drawn.mean(0)), _variance(drawn, axis=1).mean(0)
    particular = (single - mean) / (len(drawn) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        common: Reals = np.sqrt(np.clip(1 - np.nan_to_num(particular / mean, posinf=0, neginf=0), 0, 1))
    return common


def _variance(values: Reals, axis: int = 0) -> Reals:
    """Over resamples, without those that lack the class; 0 where all do."""
    known = ~np.isnan(values)
    number = np.maximum(known.sum(axis), 1)
    mean = np.expand_dims(np.where(known, values, 0).sum(axis) / number, axis)
    variance: Reals = np.where(known, (values - mean) ** 2, 0).sum(axis) / number
    return variance

"""What other seeds would have given: Student's t, alone and jointly for several differences that share arms.

Seeds are few, and resampling a few of anything is too narrow: five seeds, resampled, give a 95 % interval that holds
the truth in 83 % of cases. So the part of the seeds is drawn from Student's t, which is right at any number.

Several differences pool what they know of the noise of seeds: the variance of each is the mean of those of all.
Differences that share an arm correlate by 1/2, and their variances by 1/4, so that the mean of P variances has
(S - 1) P^2 / (sum of squared correlations) degrees of freedom: (A - 1)(S - 1) for all pairs of A arms, less where all
are to one baseline. For those the residual variance of the block layout seed x arm has (A - 1)(S - 1) too, but it is
wrong where the baseline has another variance than the rest: at three times theirs it calls equal methods better in 5
to 7 % of studies instead of 2.5 (5 and 11 methods), and the mean variance of the differences in 2.6 %.
docs/statistics.md has the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from analysis.statistics.scores import Reals

LEVEL = 0.95
OUTLYING = 4.0
"""A difference whose variance is more than so many times the pooled one does not take part in the pool."""
Pairs = Sequence[tuple[int, int]]
"""Differences A - B by the numbers of their arms."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; `low` and `high` are None where `n` values cannot tell."""

    estimate: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class PairedInterval(Interval):
    """A mean difference A - B of pairs. `chance` is that of A being better; None where `n` pairs cannot tell."""

    chance: float | None


def mean_over_seeds(values: Sequence[float] | Reals) -> Interval:
    """The mean of independent runs with Student's t interval; one value has a mean and no interval.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"a mean over seeds needs finite values, but got {numbers.tolist()}; leave failed runs out")
    mean, half = _mean_and_half_width(numbers)
    return Interval(mean, None if half is None else mean - half, None if half is None else mean + half, numbers.size)


def paired_over_seeds(a: Sequence[float] | Reals, b: Sequence[float] | Reals) -> PairedInterval:
    """The mean of a - b, pair by pair, with Student's t interval and the chance that A is better.

    Raises:
        ValueError: different numbers of values, none, or one that is not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need as many values of each, but got {len(a)} and {len(b)}; leave out the unpaired")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    mean = mean_over_seeds(differences)
    chance = None
    if mean.n > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(mean.n)
        t = mean.estimate / error if error else math.copysign(math.inf, mean.estimate) if mean.estimate else 0.0
        chance = float(stdtr(mean.n - 1, t))
    return PairedInterval(mean.estimate, mean.low, mean.high, mean.n, chance)


def _mean_and_half_width(values: Reals) -> tuple[float, float | None]:
    if values.size == 1:
        return float(values[0]), None
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(values.mean()), float(stdtrit(values.size - 1, (1 + LEVEL) / 2)) * error


@dataclass(frozen=True)
class SeedNoise:
    """How far the mean over seeds of each difference may be off.

    Attributes:
        errors: standard errors [pairs].
        freedom: degrees of freedom of each [pairs].
        own: which do not take part in the pool [pairs].
    """

    errors: Reals
    freedom: Reals
    own: NDArray[np.bool_]


def seed_noise(scores: Reals, pairs: Pairs) -> SeedNoise:
    """The noise of differences between arms, pooled but for outlying ones.

    Args:
        scores: [arms, seeds] of two seeds or more, paired: a column is one seed.
        pairs: the differences.
    """
    seeds = scores.shape[1]
    variances = np.array([(scores[a] - scores[b]).var(ddof=1) for a, b in pairs])
    own: NDArray[np.bool_] = np.asarray(variances > OUTLYING * variances.mean())
    pooled = np.where(own, variances, variances[~own].mean())
    inside = np.flatnonzero(~own)
    freedom: Reals = np.where(own, seeds - 1, (seeds - 1) * _pooled_pairs([pairs[n] for n in inside.tolist()]))
    errors: Reals = np.sqrt(pooled / seeds)
    return SeedNoise(errors, freedom, own)


def foreseen_noise(points: float, seeds: int, pairs: Pairs) -> SeedNoise:
    """What `seed_noise` will find where all differences are as noisy as each other.

    Args:
        points: standard deviation over seeds of the difference between two runs.
        seeds: two or more.
        pairs: the differences.
    """
    freedom = np.full(len(pairs), (seeds - 1) * _pooled_pairs(pairs))
    return SeedNoise(np.full(len(pairs), points / math.sqrt(seeds)), freedom, np.zeros(len(pairs), bool))


def _pooled_pairs(pairs: Pairs) -> float:
    """As how many independent differences the pairs tell of their variance."""
    signs = signs_of(pairs)
    correlations = signs @ signs.T / 2
    return float(len(pairs) ** 2 / (correlations**2).sum())


def signs_of(pairs: Pairs) -> Reals:
    """[pairs, arms]: 1 at A, -1 at B."""
    signs = np.zeros((len(pairs), 1 + max(max(pair) for pair in pairs)))
    for row, (a, b) in enumerate(pairs):
        signs[row, a], signs[row, b] = 1, -1
    return signs


def seed_deviations(noise: SeedNoise, pairs: Pairs, draws: int, rng: np.random.Generator) -> Reals:
    """Joint draws [draws, pairs] of what the seeds add to each difference.

    Of each difference alone they are quantiles of t at equal steps, whatever the random numbers: those only say which
    occur together. One chi2 goes to all that are pooled, and differences that share an arm share its deviation.
    """
    signs = signs_of(pairs)
    normal = rng.standard_normal((draws, signs.shape[1])) @ signs.T
    pooled = noise.freedom[~noise.own][:1]
    together = rng.chisquare(pooled, (draws, 1)) if pooled.size else np.ones((draws, 1))
    alone = rng.chisquare(np.maximum(noise.freedom, 1), (draws, len(pairs)))
    chi2 = np.where(noise.own, alone, together)
    return noise.errors * np.stack(
        [_quantiles_like(t, freedom) for t, freedom in zip((normal / np.sqrt(chi2)).T, noise.freedom, strict=True)], -1
    )


def student_draws(freedom: float, draws: int, rng: np.random.Generator) -> Reals:
    """Quantiles of t at equal steps [draws], in random order."""
    return _quantiles_like(rng.random(draws), freedom)


def _quantiles_like(values: Reals, freedom: float) -> Reals:
    """Quantiles of t at equal steps, in the order of size that the values have."""
    quantiles = np.empty(len(values))
    quantiles[np.argsort(values)] = _quantiles(len(values), freedom)
    return quantiles


@lru_cache(maxsize=16)
def _quantiles(number: int, freedom: float) -> Reals:
    """Quantiles of t in the middle of as many equal steps [number]."""
    quantiles: Reals = stdtrit(freedom, (np.arange(number) + 0.5) / number)
    return quantiles

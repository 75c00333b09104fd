"""What counts of pixels and scores of seeds can tell: intervals, differences, and how optimistic a choice is.

Pure functions of arrays. Scores are dataset-wide mIoU in percent, from counts summed over images and divided once;
differences are in percentage points; intervals are at 95 %. Randomness is counted: the same arguments and `seed` give
the same answer. Images are resampled with replacement, and the same resample goes to all that is compared, so what
images have in common cancels.

Seeds are few, and resampling a few of anything is too narrow: five seeds, resampled, give a 95 % interval that holds
the truth in 83 % of cases. So the part of the seeds is drawn from Student's t instead, which is right at any number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import student_t

LEVEL = 0.95
POWER = 0.80
"""How likely the smallest detectable difference would have been found."""

Counts = NDArray[np.int64]
"""[..., classes, 3]: true positives, false positives, false negatives."""
Reals = NDArray[np.float64]
Numbers = Counts | Reals


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


@dataclass(frozen=True)
class Difference:
    """mIoU of A minus that of B on the same images.

    Attributes:
        estimate: percentage points; the mean over seeds.
        low: end of the 95 % interval, over images, and over seeds where there are several.
        high: the other end.
        chance: that A is better: the share of draws in which it is. Never 0 or 1, as draws are finite.
        images: how many.
        seeds: how many pairs of runs. One means that the interval does not cover what another seed would give.
        detectable: the smallest true difference, in points, that this evidence would have told from none in 80 % of
            cases: 2.8 standard errors over many images, more over few seeds.
        classes: difference of each class's IoU in points, `n` the images that have the class in labels or predictions;
            None for a class in neither.
    """

    estimate: float
    low: float
    high: float
    chance: float
    images: int
    seeds: int
    detectable: float
    classes: tuple[Interval | None, ...]

    @property
    def p_value(self) -> float:
        """Two-sided: how often chance alone gives a difference this large."""
        return 2 * min(self.chance, 1 - self.chance)


def iou_percent(counts: Numbers) -> Reals:
    """IoU of each class [..., classes] from counts [..., classes, 3] summed over images; NaN for a class in none."""
    hits: Reals = counts[..., 0].astype(np.float64)
    return _ratio(100 * hits, counts.sum(-1))


def miou_percent(counts: Numbers) -> Reals:
    """Dataset-wide mIoU [...] from counts [..., classes, 3] summed over images.

    A class in neither labels nor predictions is left out; NaN where that leaves none.
    """
    return _mean_over_classes(iou_percent(counts))


def _mean_over_classes(ious: Reals) -> Reals:
    occurs = ~np.isnan(ious)
    return _ratio(np.where(occurs, ious, 0.0).sum(-1), occurs.sum(-1))


def _ratio(top: Reals, bottom: Numbers) -> Reals:
    """NaN where `bottom` is 0."""
    quotient: Reals = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
    return quotient


def difference_over_images(a: Counts, b: Counts, draws: int = 2000, seed: int = 0) -> Difference:
    """How much better A is than B, by a paired bootstrap over images and, with several seeds, over seeds.

    With S seeds, a draw is the mean over seeds of the differences on resampled images, plus a deviation of the seeds
    from Student's t with S - 1 degrees of freedom. Both parts hold the noise that is particular to a seed on an image;
    the part of the images is shrunk so that it counts once.

    Args:
        a: [images, classes, 3], or [seeds, images, classes, 3].
        b: of the same images, and seeds, in the same order.
        draws: resamples.
        seed: of the resampling.

    Raises:
        ValueError: shapes that differ or are none of these, or fewer than two images.
    """
    if a.shape != b.shape or a.ndim not in (3, 4) or a.shape[-1] != 3:
        raise ValueError(
            "counts must both be [images, classes, 3] or [seeds, images, classes, 3], "
            f"but got {list(a.shape)} and {list(b.shape)}; give the same images and seeds in the same order"
        )
    first, second = (x.reshape(-1, *x.shape[-3:]) for x in (a, b))
    seeds, images = first.shape[:2]
    if images < 2:
        raise ValueError(f"a bootstrap over images needs two or more, but got {images}; evaluate on more images")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    observed = _scores(first.sum(1)) - _scores(second.sum(1))
    drawn = np.stack([_resampled(x, weights) - _resampled(y, weights) for x, y in zip(first, second, strict=True)])
    values = _with_seeds(observed, drawn, rng)
    estimates = observed.mean(0)
    low, high = _middle(values, LEVEL)
    occurs = ((first.sum(-1) > 0) | (second.sum(-1) > 0)).any(0).sum(0)
    return Difference(
        estimate=float(estimates[0]),
        low=float(low[0]),
        high=float(high[0]),
        chance=_chance(values[:, 0]),
        images=images,
        seeds=seeds,
        detectable=_detectable(values[:, 0] - estimates[0]),
        classes=tuple(
            None if math.isnan(estimate) else Interval(float(estimate), float(below), float(above), int(n))
            for estimate, below, above, n in zip(estimates[1:], low[1:], high[1:], occurs, strict=True)
        ),
    )


def _scores(counts: Numbers) -> Reals:
    """mIoU, then the IoU of each class: [..., 1 + classes]."""
    ious = iou_percent(counts)
    return np.concatenate([_mean_over_classes(ious)[..., None], ious], axis=-1)


def _resampled(counts: Counts, weights: Reals) -> Reals:
    """Scores [draws, 1 + classes] of [images, classes, 3] with each image as often as a row of `weights` has it."""
    images, classes, _ = counts.shape
    return _scores((weights @ counts.reshape(images, -1).astype(np.float64)).reshape(-1, classes, 3))


def _with_seeds(observed: Reals, drawn: Reals, rng: np.random.Generator) -> Reals:
    """Draws [draws, scores] of the mean over seeds.

    Args:
        observed: differences on all images [seeds, scores].
        drawn: on resampled images [seeds, draws, scores].
        rng: for the seeds' part.
    """
    seeds = len(observed)
    over_images: Reals = drawn.mean(0)
    if seeds == 1:
        return over_images
    estimate: Reals = observed.mean(0)
    spread: Reals = observed.std(0, ddof=1) / math.sqrt(seeds)
    deviation = spread * rng.standard_t(seeds - 1, size=(drawn.shape[1], 1))
    return estimate + _common_share(drawn) * (over_images - estimate) + deviation


def _common_share(drawn: Reals) -> Reals:
    """What part of the images' deviations all seeds share [scores]; the rest is in the seeds' own spread already.

    With v the variance over draws of the mean over seeds and w that of a single seed, the variance particular to seeds
    is (w - v) / (seeds - 1), so 1 - that / v of v is common.
    """
    mean, single = _variance(drawn.mean(0)), _variance(drawn).mean(0)
    particular = (single - mean) / (len(drawn) - 1)
    common: Reals = np.sqrt(np.clip(1 - np.nan_to_num(_ratio(particular, mean)), 0, 1))
    return common


def _variance(values: Reals) -> Reals:
    """Over draws, the last axis but one, without those that lack the class; 0 where all do."""
    known = ~np.isnan(values)
    number = np.maximum(known.sum(-2), 1)
    mean = np.where(known, values, 0).sum(-2) / number
    variance: Reals = np.where(known, (values - mean[..., None, :]) ** 2, 0).sum(-2) / number
    return variance


def _middle(values: Reals, share: float) -> tuple[Reals, Reals]:
    """The ends of the middle `share` of draws [draws, scores]; NaN where there are none."""
    ends = np.full((2, values.shape[1]), np.nan)
    known = ~np.isnan(values).all(0)
    ends[:, known] = np.nanquantile(values[:, known], [(1 - share) / 2, (1 + share) / 2], axis=0)
    return ends[0], ends[1]


def _chance(values: Reals) -> float:
    """The share above zero, ties half, with one draw more on each side, because none was seen is not never."""
    above = (values > 0).sum() + (values == 0).sum() / 2
    return float((above + 1) / (len(values) + 2))


def _detectable(deviations: Reals) -> float:
    """Half the interval's width, plus how far a deviation would have to undershoot for the power to be lost."""
    needed, missed = np.quantile(np.abs(deviations), [LEVEL, 2 * POWER - 1])
    return float(needed + missed)


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
        chance = student_t.cumulative(t, mean.n - 1)
    return PairedInterval(mean.estimate, mean.low, mean.high, mean.n, chance)


def _mean_and_half_width(values: Reals) -> tuple[float, float | None]:
    if values.size == 1:
        return float(values[0]), None
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(values.mean()), student_t.quantile((1 + LEVEL) / 2, values.size - 1) * error


def selection_optimism(counts: Counts, draws: int = 500, seed: int = 0) -> Interval:
    """By how many points the mIoU of the best of many trials flatters it, because the same images chose it.

    The images are split into random halves. The best trial of one half is looked at on the other, and what it loses
    there is divided by sqrt(2), as half the images make sqrt(2) times the noise. For trials that are equally good this
    is right on average; where they differ it is a little too high. (The best of a bootstrap resample would lose too
    little on all images, 0.71 of the truth for equal trials, since those hold the resample, and too much on the images
    not drawn, 1.41, since a resample is as noisy as half as many images.) Halves of one size also give a score like
    mIoU, which is no mean over images, the same bias on both sides.

    What chance in training (seeds) adds to the choice is not in here; only new seeds can show that.

    Args:
        counts: [trials, images, classes, 3], of all trials that could have been chosen.
        draws: splits.
        seed: of the splits.

    Returns:
        The mean over splits, the middle 95 % of splits, and the number of trials.

    Raises:
        ValueError: no trial, or fewer than two images.
    """
    if counts.ndim != 4 or not len(counts) or counts.shape[1] < 2:
        raise ValueError(
            f"counts must be [trials, images, classes, 3] of two images or more, but got {list(counts.shape)}; "
            "evaluate on more images"
        )
    trials, images, classes, _ = counts.shape
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(images), (draws, 1)), axis=1)
    half = (order < images // 2).astype(np.float64)
    scores = np.empty((2, trials, draws))
    for trial, single in enumerate(counts):
        flat = single.reshape(images, -1).astype(np.float64)
        sums = half @ flat
        for side, summed in enumerate((sums, flat.sum(0) - sums)):
            scores[side, trial] = miou_percent(summed.reshape(draws, classes, 3))
    lost = _lost(scores[0], scores[1]) + _lost(scores[1], scores[0])
    values = lost / 2 / math.sqrt(2)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high), trials)


def _lost(chosen_by: Reals, seen_on: Reals) -> Reals:
    """What the best trial by one half's scores [trials, draws] loses on the other half [draws]."""
    best = chosen_by.argmax(0)
    lost: Reals = np.take_along_axis(chosen_by - seen_on, best[None], axis=0)[0]
    return lost


def holm(p_values: Sequence[float]) -> list[float]:
    """P values that allow for having asked several questions at once (Holm, 1979): each is at most 0.05 if its
    difference still is one at the 5 % level of the whole family.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]

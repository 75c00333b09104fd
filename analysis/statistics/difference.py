"""One setting against another: the difference of mIoU and of each class's IoU, each with an interval of its own."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import images
from analysis.statistics.images import FEWEST_GROUPS, Groups, effective_groups
from analysis.statistics.power import detectable
from analysis.statistics.scores import Classes, Counts, Numbers, Reals, iou_percent, labelled_classes, miou_percent
from analysis.statistics.seeds import LEVEL, Interval, student_draws

DRAWS = 20_000


@dataclass(frozen=True)
class Difference:
    """mIoU of A minus that of B on the same images.

    Attributes:
        estimate: percentage points; the mean over seeds.
        low: end of the 95 % interval, over images, and over seeds where there are several; None for one seed on
            fewer than FEWEST_GROUPS independent groups of images.
        high: the other end.
        chance: that A is better: the share of draws in which it is. Never 0 or 1, as draws are finite.
        images: how many.
        groups: as how many independent groups they count.
        seeds: how many pairs of runs. One means that the interval does not cover what another seed would give.
        detectable: the smallest true difference, in points, that this evidence would have told from none in 80 % of
            cases: 2.8 standard errors over many images, more over few seeds.
        classes: difference of each class's IoU in points, `n` the images that have the class in labels or predictions;
            None for a class in neither.
    """

    estimate: float
    low: float | None
    high: float | None
    chance: float | None
    images: int
    groups: float
    seeds: int
    detectable: float | None
    classes: tuple[Interval | None, ...]

    @property
    def over_images(self) -> bool:
        """Whether the interval holds for other images; else on these alone."""
        return self.groups >= FEWEST_GROUPS

    @property
    def p_value(self) -> float | None:
        """Two-sided: how often chance alone gives a difference this large."""
        return None if self.chance is None else 2 * min(self.chance, 1 - self.chance)


def difference_over_images(
    a: Counts, b: Counts, groups: Groups = None, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """How much better A is than B, over groups of images and, with several seeds, over seeds.

    With S seeds, a draw is the mean over seeds of the differences on resampled images, plus a deviation of the seeds
    from Student's t with S - 1 degrees of freedom. Both parts hold the noise that is particular to a seed on an image;
    the part of the images is shrunk so that it counts once.

    Args:
        a: [images, classes, 3], or [seeds, images, classes, 3].
        b: of the same images, and seeds, in the same order.
        groups: [images], the group of each; each its own where None.
        draws: of seeds and images together.
        seed: of the randomness.

    Raises:
        ValueError: shapes that differ or are none of these, or fewer than two images.
    """
    if a.shape != b.shape or a.ndim not in (3, 4) or a.shape[-1] != 3:
        raise ValueError(
            "counts must both be [images, classes, 3] or [seeds, images, classes, 3], "
            f"but got {list(a.shape)} and {list(b.shape)}; give the same images and seeds in the same order"
        )
    first, second = (x.reshape(-1, *x.shape[-3:]) for x in (a, b))
    if first.shape[1] < 2:
        raise ValueError(f"a difference over images needs two or more, but got {first.shape[1]}; evaluate on more")
    classes = labelled_classes(first)
    observed = _scores(first.sum(1), classes) - _scores(second.sum(1), classes)
    independent = effective_groups(groups, first.shape[1])
    drawn = None
    if independent >= FEWEST_GROUPS:
        drawn = _resampled(first, second, groups, classes, min(draws, images.RESAMPLES), seed)
    occurs = ((first.sum(-1) > 0) | (second.sum(-1) > 0)).any(0).sum(0)
    return _summed_up(_Evidence(observed, drawn, independent, draws, seed), first.shape[1], occurs)


def _scores(counts: Numbers, classes: Classes) -> Reals:
    """mIoU, then the IoU of each class: [..., 1 + classes]."""
    return np.concatenate([miou_percent(counts, classes)[..., None], iou_percent(counts)], axis=-1)


def _resampled(a: Counts, b: Counts, groups: Groups, classes: Classes, number: int, seed: int) -> Reals:
    """Differences of scores on resampled images [seeds, resamples, scores]."""
    first, second = images.grouped(a, groups), images.grouped(b, groups)
    weights = images.resamples(first.shape[1], number, np.random.default_rng([seed, 0]))
    return _scores(images.resampled(first, weights), classes) - _scores(images.resampled(second, weights), classes)


class _Evidence:
    """Draws of the differences of all scores.

    Args:
        observed: on all images [seeds, scores].
        drawn: on resampled ones [seeds, resamples, scores]; None where the images are taken as given.
        groups: how many independent ones.
        draws: how many.
        seed: of the randomness.
    """

    def __init__(self, observed: Reals, drawn: Reals | None, groups: float, draws: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.estimates: Reals = observed.mean(0)
        self.seeds, self.groups, self.tells = len(observed), groups, drawn is not None or len(observed) > 1
        self._seed_variance, self._image_variance = 0.0, 0.0
        deviations = np.zeros((draws, observed.shape[1]))
        if self.seeds > 1:
            errors = observed.std(0, ddof=1) / math.sqrt(self.seeds)
            self._seed_variance = float(errors[0] ** 2)
            deviations += errors * student_draws(self.seeds - 1, draws, rng)[:, None]
        if drawn is not None:
            common = (images.common_share(drawn) if self.seeds > 1 else 1) * (drawn.mean(0) - self.estimates)
            self._image_variance = float(common[:, 0].var()) * groups / (groups - 1)
            rows = np.resize(np.arange(len(common)), draws)
            deviations += images.scales(groups, draws, rng)[:, None] * common[rows]
        self._values = self.estimates + deviations

    def ends(self) -> Reals:
        """Of the middle 95 % of draws [2, scores]; NaN where there are none."""
        ends = np.full((2, len(self.estimates)), np.nan)
        known = ~np.isnan(self._values).all(0)
        if self.tells:
            ends[:, known] = np.nanquantile(self._values[:, known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return ends

    def chance(self) -> float:
        """The share above zero, ties half, with one draw more on each side, because none was seen is not never."""
        values = self._values[:, 0]
        above = (values > 0).sum() + (values == 0).sum() / 2
        return float((above + 1) / (len(values) + 2))

    def detectable(self, half_width: float) -> float:
        """In points, for an interval of mIoU so wide on each side."""
        return detectable(
            half_width, 1 - LEVEL, self._seed_variance, self.seeds - 1, self._image_variance, self.groups - 1
        )


def _summed_up(found: _Evidence, number: int, occurs: NDArray[np.int64]) -> Difference:
    low, high = found.ends()
    tells = found.tells
    return Difference(
        estimate=float(found.estimates[0]),
        low=float(low[0]) if tells else None,
        high=float(high[0]) if tells else None,
        chance=found.chance() if tells else None,
        images=number,
        groups=found.groups,
        seeds=found.seeds,
        detectable=found.detectable(float(high[0] - low[0]) / 2) if tells else None,
        classes=tuple(
            None if math.isnan(row[0]) else _interval(*row)
            for row in zip(
                found.estimates[1:].tolist(), low[1:].tolist(), high[1:].tolist(), occurs.tolist(), strict=True
            )
        ),
    )


def _interval(estimate: float, low: float, high: float, n: int) -> Interval:
    known = not math.isnan(low)
    return Interval(estimate, low if known else None, high if known else None, n)

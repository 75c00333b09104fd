"""How optimistic a choice is that was made on the images that score it."""

import math

import numpy as np

from analysis.statistics.scores import Counts, Reals, miou_percent
from analysis.statistics.seeds import LEVEL, Interval


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

"""Counts of runs whose IoU is known, and mIoU by a naive loop."""

import numpy as np

from analysis.statistics import Counts

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

"""IoU and mIoU of summed counts."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""[..., classes, 3]: true positives, false positives, false negatives."""
Reals = NDArray[np.float64]
Numbers = Counts | Reals
Classes = NDArray[np.bool_]
"""[classes]: which classes count."""


def iou_percent(counts: Numbers) -> Reals:
    """IoU of each class [..., classes] from counts [..., classes, 3] summed over images; NaN for a class in none."""
    hits: Reals = counts[..., 0].astype(np.float64)
    return ratio(100 * hits, counts.sum(-1))


def miou_percent(counts: Numbers, classes: Classes | None = None) -> Reals:
    """Dataset-wide mIoU [...] from counts [..., classes, 3] summed over images.

    Args:
        counts: of whole splits or resamples.
        classes: over which to take the mean: one that a resample lacks has IoU 0 there, for all that are compared.
            Where None, a class in neither labels nor predictions is left out, as trials report it; NaN where that
            leaves none.
    """
    ious = iou_percent(counts)
    if classes is None:
        return mean_over_classes(ious)
    return ratio(np.nan_to_num(ious[..., classes]).sum(-1), np.asarray(classes.sum()))


def labelled_classes(counts: Counts) -> Classes:
    """Which classes [classes] the labels of a split have, by any runs' counts [..., classes, 3] on all its images."""
    labelled = (counts[..., 0] + counts[..., 2]).reshape(-1, counts.shape[-2])
    return np.asarray(labelled.any(0))


def mean_over_classes(ious: Reals) -> Reals:
    """The mean [...] of IoUs [..., classes] without NaN; NaN where all are."""
    occurs = ~np.isnan(ious)
    return ratio(np.where(occurs, ious, 0.0).sum(-1), occurs.sum(-1))


def ratio(top: Reals, bottom: Numbers) -> Reals:
    """NaN where `bottom` is 0."""
    quotient: Reals = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
    return quotient

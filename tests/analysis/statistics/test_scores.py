"""IoU and mIoU against naive loops."""

import warnings

import numpy as np
import pytest

from analysis.statistics import iou_percent, labelled_classes, miou_percent
from tests.analysis.statistics.made import naive_miou, random_counts


def test_miou_is_of_the_summed_counts_and_leaves_absent_classes_out() -> None:
    counts = random_counts(np.random.default_rng(0), 7, 5)
    summed = counts.sum(0)
    assert miou_percent(summed) == pytest.approx(naive_miou(summed))
    assert miou_percent(counts).tolist() == pytest.approx([naive_miou(image) for image in counts])
    assert np.isnan(iou_percent(summed)[-1]) and not np.isnan(iou_percent(summed)[:-1]).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(miou_percent(np.zeros((4, 3))))


def test_the_classes_of_a_split_are_those_of_its_labels_in_every_resample() -> None:
    """The second class is labelled in the last image alone; the third is predicted and never labelled."""
    counts = np.zeros((3, 3, 3), np.int64)
    counts[:, 0] = (8, 1, 1)
    counts[2, 1] = (3, 0, 1)
    counts[0, 2] = (0, 1, 0)
    classes = labelled_classes(counts)
    assert classes.tolist() == [True, True, False]
    assert miou_percent(counts.sum(0), classes) == pytest.approx((80 + 75) / 2)
    assert miou_percent(counts[:2].sum(0), classes) == pytest.approx((80 + 0) / 2)  # a resample without the last image
    assert labelled_classes(np.stack([counts, counts])[:, None]).tolist() == [True, True, False]

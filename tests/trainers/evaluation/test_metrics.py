from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import arrays, golden
from trainers.data import IGNORE
from trainers.evaluation.metrics import (
    confusion_matrices,
    confusion_matrix,
    image_counts,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)


def counted(predictions: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for prediction, label in zip(predictions.flatten(), labels.flatten(), strict=True):
        if label != IGNORE:
            matrix[label, prediction] += 1
    return matrix


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randint(4, (3, 7, 9), generator=generator)
    labels = torch.randint(3, (3, 7, 9), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = IGNORE
    labels[2] = IGNORE
    return predictions, labels


def test_counts_pixels_one_by_one(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    predictions, labels = maps
    matrix = confusion_matrix(predictions, labels, num_classes=5)
    assert matrix.dtype == torch.int64
    assert torch.equal(matrix, counted(predictions, labels, 5))
    assert torch.equal(matrix, confusion_matrix(predictions, labels.byte(), num_classes=5))


def test_counts_every_image_by_itself(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    predictions, labels = maps
    matrices = confusion_matrices(predictions, labels, num_classes=5)
    assert torch.equal(matrices.sum(0), counted(predictions, labels, 5))
    counts = image_counts(matrices)
    assert counts.shape == (3, 5, 3) and counts.dtype == torch.int64
    for image, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
        for index in range(5):
            right = (prediction == index) & (label == index)
            wrong = (prediction == index) & (label != index) & (label != IGNORE)
            missed = (prediction != index) & (label == index)
            expected = [int(mask.sum()) for mask in (right, wrong, missed)]
            assert counts[image, index].tolist() == expected


def test_scores_by_hand() -> None:
    matrix = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert iou_per_class(matrix)[:2].tolist() == pytest.approx([3 / 6, 4 / 7])
    assert iou_per_class(matrix)[2].isnan()
    assert mean_iou(matrix).item() == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert mean_iou(matrix, absent="zero").item() == pytest.approx((3 / 6 + 4 / 7) / 3)
    assert pixel_accuracy(matrix).item() == pytest.approx(7 / 10)


def test_a_class_only_predicted_is_not_absent() -> None:
    matrix = torch.tensor([[3, 1], [0, 0]])
    assert iou_per_class(matrix).tolist() == [3 / 4, 0]


def test_nothing_labelled_has_no_score() -> None:
    nothing = torch.zeros(2, 2, dtype=torch.int64)
    assert mean_iou(nothing).isnan() and pixel_accuracy(nothing).isnan()


@pytest.mark.parametrize("wrong", [3, -1])
def test_names_a_label_or_prediction_that_is_no_class(wrong: int) -> None:
    fine, off = torch.tensor([0, 1, 2]), torch.tensor([0, 1, wrong])
    with pytest.raises(ValueError, match=rf"label must be a class in \[0, 3\).*got {wrong};"):
        confusion_matrix(fine, off, num_classes=3)
    with pytest.raises(ValueError, match=rf"prediction must be a class in .*got {wrong};"):
        confusion_matrix(off, fine, num_classes=3)
    ignored = torch.tensor([0, 1, IGNORE])  # whatever is predicted there
    assert confusion_matrix(off, ignored, num_classes=3).sum() == 2


@pytest.mark.parametrize("case", golden("METRIC"))
def test_agrees_with_the_published_score(case: dict[str, Any]) -> None:
    stored, num_classes = arrays(case), case["params"]["nclass"]
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for batch in range(case["params"]["nbatches"]):
        labels = torch.from_numpy(stored[f"target_{batch}"])
        predictions = torch.from_numpy(stored[f"logits_{batch}"]).argmax(1)
        matrix += confusion_matrix(predictions, labels.masked_fill(labels == -1, IGNORE), num_classes=num_classes)
    np.testing.assert_array_equal(matrix, stored["out_confusion"])
    np.testing.assert_allclose(iou_per_class(matrix), stored["out_iou_exact"], rtol=1e-12)
    zero, skip = mean_iou(matrix, absent="zero").item(), mean_iou(matrix).item()
    assert zero == pytest.approx(float(stored["out_miou_official"]), abs=1e-6)
    assert zero == pytest.approx(float(stored["out_miou_exact_zero_for_absent"]), rel=1e-12)
    assert skip == pytest.approx(float(stored["out_miou_exact_nanmean"]), rel=1e-12)
    accuracy = pixel_accuracy(matrix).item()
    assert accuracy == pytest.approx(float(stored["out_pixacc_true"]), rel=1e-12)

"""Segmentation metrics from counts: a confusion matrix is summed over everything, divided once.

mIoU is that of the whole dataset, not the mean over images. Pixels labelled IGNORE count for
nothing, whatever is predicted there.
"""

from typing import Literal

import torch
from torch import Tensor

from trainers.data import IGNORE


def confusion_matrix(predictions: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """Pixels by labelled class (rows) and predicted class (columns).

    Args:
        predictions: integer class indices, any shape.
        labels: class indices of the same shape, IGNORE where unlabelled.
        num_classes: C.

    Returns:
        int64 [C, C]; add them up over batches and ranks.

    Raises:
        ValueError: a label or prediction that is no class.
    """
    return _confusion_per_image(predictions.reshape(1, -1), labels.reshape(1, -1), num_classes=num_classes)[0]


def image_confusion(predictions: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """True positives, false positives and false negatives of every image and class.

    Args:
        predictions: integer class indices [B, H, W].
        labels: class indices [B, H, W], IGNORE where unlabelled.
        num_classes: C.

    Returns:
        int64 [B, C, 3].

    Raises:
        ValueError: a label or prediction that is no class.
    """
    matrices = _confusion_per_image(predictions.flatten(1), labels.flatten(1), num_classes=num_classes)
    hits = matrices.diagonal(dim1=1, dim2=2)
    return torch.stack([hits, matrices.sum(dim=1) - hits, matrices.sum(dim=2) - hits], dim=2)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union, float64 [C]; NaN for a class in neither labels nor predictions."""
    counts = confusion.to(torch.float64)
    hits = counts.diagonal()
    return hits / (counts.sum(dim=0) + counts.sum(dim=1) - hits)


def mean_iou(confusion: Tensor, *, absent: Literal["skip", "zero"] = "skip") -> Tensor:
    """Mean of the classes' IoU in [0, 1], 0-dim float64.

    Args:
        confusion: [C, C].
        absent: a class in neither labels nor predictions is left out (NaN if that leaves none), or
            counts as 0, as in the published code, where a perfect prediction of 10 among 11 classes
            scores 0.909.
    """
    ious = iou_per_class(confusion)
    return ious.nanmean() if absent == "skip" else ious.nan_to_num(nan=0.0).mean()


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """Share of labelled pixels predicted right, 0-dim float64; NaN without any.

    The published figure takes the argmax of logits truncated to integers, and is usually lower.
    """
    counts = confusion.to(torch.float64)
    return counts.diagonal().sum() / counts.sum()


def _confusion_per_image(predictions: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """int64 [B, C, C] from [B, N] indices."""
    valid = labels != IGNORE
    _check_classes(labels[valid], "label", num_classes)
    _check_classes(predictions[valid], "prediction", num_classes)
    images = torch.arange(len(labels), device=labels.device).unsqueeze(1)
    cells = (images * num_classes + labels.long()) * num_classes + predictions.long()
    length = len(labels) * num_classes**2
    return torch.bincount(cells[valid], minlength=length).view(-1, num_classes, num_classes)


def _check_classes(indices: Tensor, what: str, num_classes: int) -> None:
    wrong = indices[(indices < 0) | (indices >= num_classes)]
    if len(wrong):
        raise ValueError(
            f"a {what} must be a class in [0, {num_classes}) or, in labels, {IGNORE}, but got "
            f"{int(wrong[0])}; map the dataset's labels to these, or set its number of classes"
        )

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
    return confusion_matrices(predictions.reshape(1, -1), labels.reshape(1, -1), num_classes=num_classes)[0]


def confusion_matrices(predictions: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """The confusion matrix of every image, as `confusion_matrix` has it.

    Args:
        predictions: integer class indices [B, ...].
        labels: class indices of the same shape, IGNORE where unlabelled.
        num_classes: C.

    Returns:
        int64 [B, C, C].

    Raises:
        ValueError: a label or prediction that is no class.
    """
    ignored = labels == IGNORE
    rows, columns = (indices.long().masked_fill(ignored, 0).flatten(1) for indices in (labels, predictions))
    _check_classes(rows, "label", num_classes)
    _check_classes(columns, "prediction", num_classes)
    images = torch.arange(len(labels), device=labels.device).unsqueeze(1)
    cells = (images * num_classes + rows) * num_classes + columns
    length = len(labels) * num_classes**2
    # one more cell for all ignored pixels: to take them out of the others costs as much as to count
    counted = torch.bincount(cells.masked_fill_(ignored.flatten(1), length).flatten(), minlength=length + 1)
    return counted[:length].view(-1, num_classes, num_classes)


def image_counts(matrices: Tensor) -> Tensor:
    """True positives, false positives and false negatives of every image and class, from `confusion_matrices`.

    Args:
        matrices: int64 [B, C, C].

    Returns:
        int64 [B, C, 3].
    """
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


def _check_classes(indices: Tensor, what: str, num_classes: int) -> None:
    low, high = (int(bound) for bound in indices.aminmax()) if indices.numel() else (0, 0)
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"a {what} must be a class in [0, {num_classes}) or, in labels, {IGNORE}, but got "
            f"{low if low < 0 else high}; map the dataset's labels to these, or set its number of classes"
        )

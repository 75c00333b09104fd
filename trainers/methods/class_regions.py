"""Pixels by class: labels at the size of a feature map, and sums of features over the pixels of each class.

Sums over classes are one product with the one-hot labels, so no loop runs over classes or images.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels [B, H, W] at `size`, each the one at floor(i * H / h), as nearest-neighbour resizing takes it."""
    rows, columns = (
        torch.arange(new, device=labels.device) * old // new for new, old in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[:, rows[:, None], columns]


class ClassSums(NamedTuple):
    """Of every image and class."""

    sums: Tensor
    """[B, C, D], the features of the class's pixels added up."""
    counts: Tensor
    """[B, C], how many pixels that were."""
    one_hot: Tensor
    """[B, N, C], 1 where the pixel is of the class; a row of zeros for pixels of no class."""


def class_sums(features: Tensor, labels: Tensor, *, num_classes: int) -> ClassSums:
    """Add up features over the pixels of each class.

    Args:
        features: [B, D, h, w].
        labels: int64 [B, h, w]; values outside [0, num_classes), such as the ignored label, are of no class.
        num_classes: C.
    """
    no_class = (labels < 0) | (labels >= num_classes)
    index = labels.masked_fill(no_class, num_classes).flatten(1)
    one_hot = F.one_hot(index, num_classes + 1)[..., :num_classes].to(features.dtype)
    sums = torch.einsum("bnc,bdn->bcd", one_hot, features.flatten(2))
    return ClassSums(sums, one_hot.sum(1), one_hot)

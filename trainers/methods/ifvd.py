"""IFVD, intra-class feature variation (Wang 2020, ECCV): how near each pixel lies to the centre of its class.

Both repositories that publish it add KD and the discriminator's term of SKD, with other weights; here those are the
methods `kd` and `skd`, in the same trial. CIRKD weighs the term of this file 20, the original 200.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_grid
from trainers.methods.class_regions import class_sums, resized_labels
from trainers.models import Taps

EPS = 1e-8
"""Shortest length that a cosine divides by."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    intra_class: Annotated[float, Ge(0)] = 200.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """IFVD has no options but its weight."""

    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("features",) if self.weights.intra_class else ()


@in_full_precision
def intra_class_variation(student: Tensor, teacher: Tensor, labels: Tensor, *, num_classes: int) -> Mean:
    """Count B*N, unlabelled pixels included: squared difference of the pixels' cosines to the centre of their class.

    Centres are means over the pixels of a class in one image; gradients flow through the student's. Pixels of no class
    add 0, as in the published code, which makes them their own centre.

    Args:
        student: features [B, C_s, h, w].
        teacher: features [B, C_t, h, w]; they get no gradient.
        labels: int64 [B, H, W], resized to h x w by nearest; values outside [0, num_classes) are of no class.
        num_classes: classes of the dataset.

    Raises:
        ValueError: maps of different sizes.
    """
    check_one_grid(student, teacher)
    labels = resized_labels(labels, (student.shape[-2], student.shape[-1]))
    ours = _cosines_to_own_centre(student, labels, num_classes)
    theirs = _cosines_to_own_centre(teacher.detach(), labels, num_classes)
    return Mean((ours - theirs).square().sum(), ours.new_full((), ours.numel()))


def _cosines_to_own_centre(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """[B, N], 0 at pixels of no class.

    The length of a centre does not change a cosine, so sums stand for means; and the products of all pixels with all
    unit centres, [B, C, N], are much smaller than a map of each pixel's centre, [B, D, N].
    """
    sums, _, one_hot = class_sums(features, labels, num_classes=num_classes)
    products = F.normalize(sums, dim=2, eps=EPS) @ features.flatten(2)
    own = (products * one_hot.mT).sum(1)
    length: Tensor = torch.linalg.vector_norm(features.flatten(2), dim=1)
    # a pixel without features has no direction; divided by EPS, it would get a gradient of 1e8
    return own / length.masked_fill(length < EPS, torch.inf)


class Method(DistillationMethod[Config]):
    """IFVD between the features."""

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """One term, `intra_class`; see `intra_class_variation`."""
        if not self.config.weights.intra_class:
            return {}
        mean = intra_class_variation(student["features"], teacher["features"], labels, num_classes=self.num_classes)
        return {"intra_class": mean}

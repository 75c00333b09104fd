"""Focal loss (Lin 2017): cross entropy times (1 - p)^gamma, p the probability of the label.

As in the paper, and unlike RDD's maps, the factor is part of the loss and carries a gradient. The
paper's alpha is `class_weights`; the mean is over labelled pixels, since segmentation has no
anchors to count.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from trainers.difficulty import PerHeadWeighting, WeightingConfig
from trainers.difficulty.cross_entropy import pixel_cross_entropy, weighted_mean
from trainers.distributed.means import Mean


@dataclass(frozen=True, kw_only=True)
class Config(WeightingConfig):
    """Options of the focal loss.

    Attributes:
        weighting: the tag.
        gamma: exponent of (1 - p); 0 is plain cross entropy.
    """

    weighting: Literal["focal"] = "focal"
    gamma: Annotated[float, Ge(0)] = 2.0


def focal(cross_entropy: Tensor, gamma: float) -> Tensor:
    """(1 - exp(-ce))^gamma * ce, elementwise."""
    # Kept off 0, where gamma < 1 has an infinite slope: NaN where the label is certain.
    doubt = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).tiny)
    return doubt**gamma * cross_entropy


class Weighting(PerHeadWeighting[Config]):
    """Focal loss, mean over the labelled pixels."""

    def head_loss(self, name: str, logits: Tensor, labels: Tensor) -> Mean:
        """Focal loss of one head."""
        losses = focal(pixel_cross_entropy(logits, labels).cross_entropy, self.config.gamma)
        return weighted_mean(losses, labels, class_weights=self.class_weights(logits.device))

"""OHEM, online hard example mining (Shrivastava 2016): only what the student finds hard counts."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from trainers.data import IGNORE
from trainers.difficulty import PerHeadWeighting, WeightingConfig
from trainers.difficulty.cross_entropy import Denominator, pixel_cross_entropy, weighted_mean
from trainers.distributed.means import Mean


@dataclass(frozen=True, kw_only=True)
class Config(WeightingConfig):
    """Options of OHEM.

    Attributes:
        weighting: the tag.
        threshold: a pixel is hard where the probability of its label is at most this.
        min_kept: the least number of hard pixels per head and rank batch; the threshold rises to
            reach it.
        denominator: what the sum is divided by; see `weighted_cross_entropy`.
        aux_weight: weight of the student's auxiliary head, which has hard pixels of its own.
        class_weights: one factor per class, or None.
    """

    weighting: Literal["ohem"] = "ohem"
    threshold: Annotated[float, Gt(0), Le(1)] = 0.7
    min_kept: Annotated[int, Ge(0)] = 0
    denominator: Denominator = "kept"


def hard_pixels(confidence: Tensor, valid: Tensor, *, threshold: float, min_kept: int) -> Tensor:
    """Valid pixels of confidence up to the threshold, or the `min_kept` least confident if more.

    Args:
        confidence: [B, H, W] in [0, 1].
        valid: bool [B, H, W].
        threshold: in (0, 1].
        min_kept: 0 for a fixed threshold; above the number of valid pixels, all of them are hard.

    Returns:
        bool [B, H, W]; no host sync, so the number of valid pixels is never asked for.
    """
    if min_kept == 0:
        return valid & (confidence <= threshold)
    ranked = confidence.masked_fill(~valid, torch.inf).flatten()
    # of many values on a GPU, kthvalue selects in one block of threads, and topk in many
    least = ranked.topk(min(min_kept, ranked.numel()), largest=False, sorted=False).values
    last = least.amax()
    return valid & (confidence <= last.clamp(min=threshold))


class Weighting(PerHeadWeighting[Config]):
    """Cross entropy of the pixels whose label the student finds improbable."""

    def head_loss(self, name: str, logits: Tensor, labels: Tensor) -> Mean:
        """Cross entropy of one head over its own hard pixels."""
        losses = pixel_cross_entropy(logits, labels)
        hard = hard_pixels(
            losses.confidence("target"),
            labels != IGNORE,
            threshold=self.config.threshold,
            min_kept=self.config.min_kept,
        )
        if name == "main":
            self.class_shares.add("ohem", labels, hard)
        return weighted_mean(
            losses.cross_entropy,
            labels,
            hard,
            denominator=self.config.denominator,
            class_weights=self.class_weights(logits.device),
        )

"""Plain cross entropy: every labelled pixel counts the same. The task loss of all but RDD."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trainers.difficulty import PerHeadWeighting, WeightingConfig, weighted_cross_entropy
from trainers.distributed.means import Mean


@dataclass(frozen=True, kw_only=True)
class Config(WeightingConfig):
    """Plain cross entropy has no options of its own."""

    weighting: Literal["uniform"] = "uniform"


class Weighting(PerHeadWeighting[Config]):
    """Cross entropy, mean over the labelled pixels."""

    def head_loss(self, name: str, logits: Tensor, labels: Tensor) -> Mean:
        """Plain cross entropy of one head."""
        return weighted_cross_entropy(logits, labels, class_weights=self.class_weights(logits.device))

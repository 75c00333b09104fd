"""Plain cross entropy: every labelled pixel counts the same. The task loss of all but RDD."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor

from trainers.difficulty import DifficultyWeighting, weighted_cross_entropy
from trainers.distributed.means import Mean
from trainers.models import Taps


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of plain cross entropy.

    Attributes:
        weighting: the tag.
        aux_weight: weight of the student's auxiliary head.
        class_weights: one factor per class, or None.
    """

    weighting: Literal["uniform"] = "uniform"
    aux_weight: Annotated[float, Ge(0)] = 0.4
    class_weights: tuple[Annotated[float, Ge(0)], ...] | None = None


class Weighting(DifficultyWeighting[Config]):
    """Cross entropy, mean over the labelled pixels."""

    def terms(
        self,
        student: Taps,
        teacher: Taps | None,
        labels: Tensor,
        *,
        iteration: int,
    ) -> dict[str, Mean]:
        """Plain cross entropy of each head."""
        return {
            name: weighted_cross_entropy(student[tap], labels, class_weights=self.config.class_weights)
            for name, tap in self.heads(student).items()
        }

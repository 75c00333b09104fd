"""FitNet, hints (Romero 2014, arXiv:1412.6550): the student's features, mapped to the teacher's channels, as they are.

The paper hints at a middle layer in a stage of its own; CIRKD's and RDD's code, and this file, at the last features
during the whole training. The regressor is a 1x1 convolution without bias, also where the channel counts agree.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_shape
from trainers.models import Taps


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    features: Annotated[float, Ge(0)] = 10.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """FitNet has no options but its weight."""

    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("features",) if self.weights.features else ()


@in_full_precision
def feature_mse(student: Tensor, teacher: Tensor) -> Mean:
    """Count B*C*N: squared difference of all elements.

    Args:
        student: features [B, C, h, w] after the adapter.
        teacher: features [B, C, h, w]; they get no gradient.

    Raises:
        ValueError: the shapes differ.
    """
    check_one_shape(student, teacher)
    total = F.mse_loss(student, teacher.detach(), reduction="sum")
    return Mean(total, total.new_full((), student.numel()))


class Method(DistillationMethod[Config]):
    """FitNet between the features, with its adapter."""

    def build(self) -> None:
        self.adapter = (
            nn.Conv2d(self.student_channels["features"], self.teacher_channels["features"], 1, bias=False)
            if self.config.weights.features
            else None
        )

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """One term, `features`; see `feature_mse`."""
        if self.adapter is None:
            return {}
        return {"features": feature_mse(self.adapter(student["features"]), teacher["features"])}

"""AT, attention transfer (Zagoruyko 2017, arXiv:1612.03928): the attention map of a layer, one per image.

The paper attends at several depths; CIRKD's and RDD's code, and this file, at the last features only. Published codes
differ in what they take of the difference of the two maps: `form` offers both, and each has a weight of its own.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_grid, unit
from trainers.models import Taps

Form = Literal["squared_mean", "norm"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term.

    1e4 belongs to the squared mean. RDD's beta / 2 with beta = 1e3 / (elements * batch) is 500 here for the norm,
    because the elements and the batch are in the count.
    """

    attention: Annotated[float, Ge(0)] = 1e4


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of AT.

    Attributes:
        form: mean of the squared difference of the maps, as published code computes it, or the difference's Euclidean
            length (RDD eq. 11).
        weights: weight of each term.
    """

    form: Form = "squared_mean"
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("features",) if self.weights.attention else ()


@in_full_precision
def unit_attention(maps: Tensor) -> Tensor:
    """Mean square over the channels of [B, C, h, w] as vectors [B, N] of length 1; maps of zeros stay zeros."""
    return unit(maps.square().mean(1).flatten(1), dim=1)


@in_full_precision
def attention_transfer(student: Tensor, teacher: Tensor, *, form: Form = "squared_mean") -> Mean:
    """Count B*N: squared difference of the unit attention maps, or with "norm" its length per image.

    Args:
        student: features [B, C_s, h, w].
        teacher: features [B, C_t, h, w]; they get no gradient.
        form: what is summed over the batch: squared differences of all positions, or one length an image.

    Raises:
        ValueError: maps of different sizes.
    """
    check_one_grid(student, teacher)
    difference = unit_attention(student) - unit_attention(teacher.detach())
    lengths = torch.linalg.vector_norm(difference, dim=1)
    total = (lengths if form == "norm" else lengths.square()).sum()
    return Mean(total, total.new_full((), difference.numel()))


class Method(DistillationMethod[Config]):
    """AT between the features."""

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """One term, `attention`; see `attention_transfer`."""
        if not self.config.weights.attention:
            return {}
        return {"attention": attention_transfer(student["features"], teacher["features"], form=self.config.form)}

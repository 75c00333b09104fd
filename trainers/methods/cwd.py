"""CWD, channel-wise distillation (Shu 2021, arXiv:2011.13256): where in the image each channel is active.

Every channel of logits or features is a distribution over positions, and the student's is compared with the teacher's.
The logarithms come from `log_softmax`: published codes take that of the softmax, whose underflow makes the loss
infinite.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_shape
from trainers.models import Taps


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    logits: Annotated[float, Ge(0)] = 3.0
    features: Annotated[float, Ge(0)] = 50.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of CWD.

    Attributes:
        temperature: divides what both networks give.
        divisor: of the sum over channels in `features`: as many as are compared (the paper), or as the student has
            before its adapter (CIRKD's code, twice the paper's value from 128 to 256 channels).
        weights: weight of each term.
    """

    temperature: Annotated[float, Gt(0)] = 4.0
    divisor: Literal["compared_channels", "student_channels"] = "compared_channels"
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        read = {"logits": self.weights.logits, "features": self.weights.features}
        return tuple(tap for tap, weight in read.items() if weight)


@in_full_precision
def channel_kl(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Mean:
    """Count B*C: T^2 times the KL divergence KL(teacher || student) over the positions of a channel.

    Args:
        student: logits, or features after the adapter, [B, C, h, w].
        teacher: [B, C, h, w]; gets no gradient.
        temperature: divides both.

    Raises:
        ValueError: the shapes differ.
    """
    check_one_shape(student, teacher)
    ours = F.log_softmax(student.flatten(2) / temperature, dim=2)
    theirs = F.log_softmax(teacher.detach().flatten(2) / temperature, dim=2)
    divergence = F.kl_div(ours, theirs, reduction="sum", log_target=True)
    return Mean(temperature**2 * divergence, divergence.new_full((), student[..., 0, 0].numel()))


class Method(DistillationMethod[Config]):
    """CWD between the logits and between the features, whose adapter is a 1x1 convolution without bias.

    The adapter is there only where the channel counts differ.
    """

    def build(self) -> None:
        ours, theirs = self.student_channels["features"], self.teacher_channels["features"]
        self.adapter: nn.Module = nn.Identity()
        if self.config.weights.features and ours != theirs:
            self.adapter = nn.Conv2d(ours, theirs, 1, bias=False)

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Terms "logits" and "features"; see `channel_kl`."""
        terms, config = {}, self.config
        if config.weights.logits:
            terms["logits"] = channel_kl(student["logits"], teacher["logits"], temperature=config.temperature)
        if config.weights.features:
            terms["features"] = self._features(student["features"], teacher["features"])
        return terms

    def _features(self, student: Tensor, teacher: Tensor) -> Mean:
        mean = channel_kl(self.adapter(student), teacher, temperature=self.config.temperature)
        if self.config.divisor == "compared_channels":
            return mean
        return mean._replace(count=mean.count.new_full((), student[..., 0, 0].numel()))

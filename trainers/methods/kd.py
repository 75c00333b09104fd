"""KD: divergence of student and teacher probabilities at every pixel (Hinton 2015; RDD eq. 2).

The logits are compared where the networks leave them, at output stride. Published codes differ by
constants under the same name; with `pixel_kl` at T = 1 as unit, CIRKD and RDD have 1, IFVD and
TorchDistiller 1 / C, and SKD B (plus the teacher's entropy, which has no gradient). Only the unit
is offered, for the weight expresses the rest.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_shape
from trainers.models import Taps

Direction = Literal["teacher_to_student", "student_to_teacher"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    pixel: Annotated[float, Ge(0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of KD.

    Attributes:
        temperature: divides both logits.
        direction: KL(teacher || student), as every published code computes it, or KL(student ||
            teacher), which is RDD eq. 2 as printed.
        t_squared: multiply by T^2, so that gradients keep their size as T grows (Hinton); RDD eq. 2
            does not.
        weights: weight of each term.
    """

    temperature: Annotated[float, Gt(0)] = 1.0
    direction: Direction = "teacher_to_student"
    t_squared: bool = True
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("logits",)


@in_full_precision
def pixel_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    direction: Direction = "teacher_to_student",
    t_squared: bool = True,
) -> Mean:
    """Count B*N: T^2 times the KL divergence over classes, a mean over the pixels of the logits.

    Args:
        student_logits: [B, C, h, w].
        teacher_logits: [B, C, h, w]; gets no gradient.
        temperature: divides both logits.
        direction: which distribution the expectation is taken over; the first named.
        t_squared: False leaves the factor T^2 out.

    Raises:
        ValueError: the shapes differ.
    """
    check_one_shape(student_logits, teacher_logits)
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    first, second = (teacher, student) if direction == "teacher_to_student" else (student, teacher)
    divergence = F.kl_div(second, first, reduction="sum", log_target=True)
    scale = temperature**2 if t_squared else 1.0
    return Mean(scale * divergence, divergence.new_full((), student[:, 0].numel()))


class Method(DistillationMethod[Config]):
    """KD between the logits."""

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """One term, `pixel`; see `pixel_kl`."""
        return {
            "pixel": pixel_kl(
                student["logits"],
                teacher["logits"],
                temperature=self.config.temperature,
                direction=self.config.direction,
                t_squared=self.config.t_squared,
            )
        }

"""Distillation terms: one file per paper, with a `Config` and a `Method`; shared parts here.

A term is unweighted: its weight stands in `Config.weights`, a frozen dataclass with one float field
per term, and the objective multiplies. Nothing here knows the task loss; how that is weighted is
the business of `trainers.difficulty`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from torch import Tensor, nn

from trainers.means import Mean
from trainers.models import Taps

ConfigT = TypeVar("ConfigT")


class DistillationMethod(nn.Module, ABC, Generic[ConfigT]):
    """Base of every `Method`: a module, so that adapters are trained and memory banks saved.

    Args:
        config: the `Config` of the same file.
        student_channels: channels of each tap of the student, by tap name.
        teacher_channels: the same of the teacher.
        num_classes: classes of the dataset, the ignored label not counted.
    """

    taps: ClassVar[tuple[str, ...]]
    """Names of the taps that `terms` reads, of student and teacher alike."""

    def __init__(
        self,
        config: ConfigT,
        *,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes

    @abstractmethod
    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Named, unweighted terms; the names are the fields of `config.weights`.

        Args:
            student: the student's taps, at least those in `taps`.
            teacher: the teacher's; they get no gradient.
            labels: int64 [B, H, W] at full resolution, IGNORE where unlabelled.
        """

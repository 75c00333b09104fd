"""Distiller: the student and all modules that are trained with it, in one module, so that DDP wraps them together.

Its forward returns the unweighted terms of the loss; the Objective weights them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from trainers import models
from trainers.config import TrialConfig
from trainers.difficulty import DifficultyWeighting, upsample
from trainers.distributed.means import Mean
from trainers.methods import Adversary, DistillationMethod, weighed
from trainers.models import SegmentationNetwork, Taps
from trainers.registry import module_of


class Distiller(nn.Module):
    """A student network with its distillation methods and the weighting of its task loss.

    Args:
        config: the trial.
        num_classes: classes of the dataset.
        teacher_channels: channels of each tap of the teacher; None where there is no teacher.
        student: the network, where it is built already.
    """

    def __init__(
        self,
        config: TrialConfig,
        *,
        num_classes: int,
        teacher_channels: Mapping[str, int] | None,
        student: SegmentationNetwork | None = None,
    ) -> None:
        super().__init__()
        self.student = student or models.build(config.student, num_classes=num_classes)
        # as in training: a network may have other taps in eval mode
        self._student_taps = frozenset(self.student.channels)
        self.weighting: DifficultyWeighting[Any] = module_of(config.task).Weighting(
            config.task, num_classes=num_classes, iterations=config.train.iterations
        )
        self.methods = nn.ModuleDict()
        if teacher_channels is None:
            self._refuse_without_teacher(config)
        for name, method in config.methods.items():
            if not weighed(method):
                continue
            self.methods[name] = module_of(method).Method(
                method,
                student_channels=self.student.channels,
                teacher_channels=teacher_channels or {},
                num_classes=num_classes,
            )

    def _refuse_without_teacher(self, config: TrialConfig) -> None:
        needing = [
            *(name for name, method in config.methods.items() if weighed(method)),
            *([config.task.weighting] if config.task.needs_teacher else []),
        ]
        if needing:
            raise ValueError(
                f"{', '.join(needing)} compare with a teacher, but got teacher=None; name a teacher's file "
                "under teacher.path"
            )

    def teacher_taps(self, iteration: int) -> frozenset[str]:
        """The teacher's taps that weighting and methods read at this 0-based iteration."""
        read = set(self.weighting.taps_at(iteration, self._student_taps))
        for method in self.methods.values():
            assert isinstance(method, DistillationMethod)
            read.update(method.teacher_taps(method.config, method.teacher_channels))
        return frozenset(read)

    def adversaries(self) -> dict[str, Adversary]:
        """The adversaries of the methods that have one, by the method's name."""
        methods = {name: method for name, method in self.methods.items() if isinstance(method, DistillationMethod)}
        return {name: method.adversary for name, method in methods.items() if method.adversary is not None}

    def forward(
        self, images: Tensor, labels: Tensor, teacher: Taps | None, iteration: int
    ) -> tuple[dict[str, Mean], Taps]:
        """Terms by name, `task/<term>` and `<method>/<term>`, and the student's taps as methods read them, detached.

        Args:
            images: normalised [B, 3, H, W].
            labels: int64 [B, H, W], 255 ignored.
            teacher: the teacher's taps for these images, or None.
            iteration: 0-based step of the trial.
        """
        student: Taps = self.student(images)
        task = self.weighting.terms(student, teacher, labels, iteration=iteration)
        terms = {f"task/{name}": mean for name, mean in task.items()}
        compared = on_the_grid_of(teacher, student) if teacher and self.methods else student
        for name, method in self.methods.items():
            assert teacher is not None and isinstance(method, DistillationMethod)
            found = method.terms(compared, teacher, labels)
            _refuse_unweighted(name, found, vars(method.config.weights))
            terms.update({f"{name}/{term}": mean for term, mean in found.items()})
        return terms, {name: tap.detach() for name, tap in compared.items()}


def _refuse_unweighted(method: str, found: Mapping[str, Mean], weights: Mapping[str, float]) -> None:
    if unknown := found.keys() - weights.keys():
        raise ValueError(
            f"terms of a method must be named as the weights of its Config, {', '.join(weights)}, but {method} "
            f"returned {', '.join(sorted(unknown))}; give each a weight"
        )


def on_the_grid_of(teacher: Taps, student: Taps) -> Taps:
    """The student's taps, those of another size than the teacher's resized to it (bilinear, align_corners=True).

    A student with another output stride, such as ENet with logits at full resolution, can thus have any teacher.
    """
    return {name: upsample(tap, teacher[name].shape[-2:]) if name in teacher else tap for name, tap in student.items()}

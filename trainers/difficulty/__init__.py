"""Task-loss weightings: one file per paper, with a `Config` and a `Weighting`; shared parts here.

A weighting decides how much each pixel's cross entropy counts, for the student's primary head and,
where it has one, its auxiliary head. It touches the task loss only, so it combines with every
distillation method.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import torch
from annotated_types import Ge
from torch import Tensor

from trainers.difficulty.class_shares import ClassShares
from trainers.difficulty.cross_entropy import (
    check_class_weights,
    upsample,
    weighted_cross_entropy,
)
from trainers.distributed.means import Mean
from trainers.models import AUXILIARY, Taps

__all__ = ["DifficultyWeighting", "PerHeadWeighting", "WeightingConfig", "upsample", "weighted_cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class WeightingConfig:
    """Base of every weighting's `Config`, which adds its tag, `weighting`, and its own options.

    A study asks nothing else of a weighting than what is declared here, and knows none by name.

    Attributes:
        aux_weight: weight of each auxiliary head of the student; 0 leaves these heads untrained.
        class_weights: one factor per class, or None.
    """

    aux_weight: Annotated[float, Ge(0)] = 0.4
    class_weights: tuple[Annotated[float, Ge(0)], ...] | None = None

    @property
    def needs_teacher(self) -> bool:
        """Whether the weighting reads a teacher's outputs."""
        return False

    def earliest_stop(self, iterations: int) -> int | None:
        """Iterations after which early stopping may compare trials, 0 to `iterations`; None where it never may.

        A score before that would be of the schedule's stage, such as a warm-up whose length is searched, and not of the
        setting.

        Args:
            iterations: length of the whole training.
        """
        return 0


ConfigT = TypeVar("ConfigT", bound=WeightingConfig)


class DifficultyWeighting(ABC, Generic[ConfigT]):
    """Base of every `Weighting`. What it does depends on the iteration alone.

    Args:
        config: the `Config` of the same file.
        num_classes: classes of the dataset, the ignored label not counted.
        iterations: length of the whole training, also of one that is resumed or stopped early.

    Attributes:
        class_shares: what the maps by which it weighs the main head leave of each class, for the log. A weighting
            without such maps (uniform, focal) adds nothing.

    Raises:
        ValueError: not one class weight per class.
    """

    def __init__(self, config: ConfigT, *, num_classes: int, iterations: int) -> None:
        if config.class_weights is not None:
            check_class_weights(config.class_weights, num_classes)
        self.config = config
        self.iterations = iterations
        self.class_shares: ClassShares[str] = ClassShares(num_classes)
        self._class_weights: Tensor | None = None

    def class_weights(self, device: torch.device) -> Tensor | None:
        """The factors of the classes, float64 [C], copied to the device once; None where there are none."""
        if self.config.class_weights is None:
            return None
        if self._class_weights is None or self._class_weights.device != device:
            self._class_weights = torch.tensor(self.config.class_weights, dtype=torch.float64, device=device)
        return self._class_weights

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """Taps of the teacher that `terms` may read; some exactly where the Config's `needs_teacher`."""
        return ()

    def taps_at(self, iteration: int, student: Collection[str]) -> tuple[str, ...]:
        """Those of `teacher_taps` that `terms` reads at this 0-based iteration, for a student with these taps."""
        return self.teacher_taps

    def stage(self, iteration: int) -> str | None:
        """Name of the stage that this 0-based iteration is in, for the log; None for a weighting without stages."""
        return None

    def heads(self, student: Collection[str]) -> dict[str, str]:
        """Tap by term: `main`, and those of AUXILIARY that the student has, at a weight above 0."""
        auxiliary = [tap for tap in AUXILIARY if tap in student and self.config.aux_weight > 0]
        return {"main": "logits"} | {tap: tap for tap in auxiliary}

    @abstractmethod
    def terms(self, student: Taps, teacher: Taps | None, labels: Tensor, *, iteration: int) -> dict[str, Mean]:
        """Task loss of each head, by the names of `heads`, unweighted.

        Args:
            student: the student's taps.
            teacher: the teacher's, at least `teacher_taps`; no gradient reaches them.
            labels: int64 [B, H, W] at full resolution, IGNORE where unlabelled.
            iteration: 0-based number of the step.
        """

    def weights(self, iteration: int) -> dict[str, float]:
        """Weight of every term that `terms` may return at this 0-based iteration."""
        return {"main": 1.0} | dict.fromkeys(AUXILIARY, self.config.aux_weight)


class PerHeadWeighting(DifficultyWeighting[ConfigT]):
    """Base of a weighting in which the loss of a head depends on that head's own logits alone."""

    def terms(self, student: Taps, teacher: Taps | None, labels: Tensor, *, iteration: int) -> dict[str, Mean]:
        """Task loss of each head; see `head_loss`."""
        return {name: self.head_loss(name, student[tap], labels) for name, tap in self.heads(student).items()}

    @abstractmethod
    def head_loss(self, name: str, logits: Tensor, labels: Tensor) -> Mean:
        """Task loss of one head, unweighted.

        Args:
            name: of the head, as in `heads`.
            logits: the head's, [B, C, h, w].
            labels: int64 [B, H, W] at full resolution, IGNORE where unlabelled.
        """

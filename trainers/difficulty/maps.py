"""What RDD makes of whole images, as maps to look at: by the functions that weigh the loss in a training.

A training sees crops, a student whose batch normalisation learns, and raises thresholds to `min_kept` pixels of a
batch; here a threshold is taken as it stands, on images that are whole, and the TFE weight is that of each pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.data import IGNORE
from trainers.difficulty import rdd
from trainers.difficulty.cross_entropy import confidence_map
from trainers.difficulty.ohem import hard_pixels
from trainers.models import Taps

Mode = Literal["xor", "or", "and"]

THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8)
"""Of the paper's ablation."""
MODES: tuple[Mode, ...] = ("xor", "or", "and")


@dataclass(frozen=True, kw_only=True)
class DifficultyMaps:
    """Maps [B, H, W]; confidences and weights floating point in [0, 1], the others bool and False at ignored pixels.

    Attributes:
        student_confidence: as `rdd.Config.confidence` says.
        teacher_confidence: the same of the teacher.
        tfe_weight: None where the teacher has no auxiliary head.
        student_hard: pixels of a confidence of at most a threshold, by threshold.
        teacher_hard: the same of the teacher.
        masks: what the TSE stage would keep, by mode and threshold.
    """

    student_confidence: Tensor
    teacher_confidence: Tensor
    tfe_weight: Tensor | None
    student_hard: dict[float, Tensor]
    teacher_hard: dict[float, Tensor]
    masks: dict[Mode, dict[float, Tensor]]

    def weights(self) -> Iterator[tuple[str, float | None, Tensor]]:
        """Every weight that a pixel may get by these maps: name, threshold (None of `tfe`), map."""
        if self.tfe_weight is not None:
            yield "tfe", None, self.tfe_weight
        hard = (("student_hard", self.student_hard), ("teacher_hard", self.teacher_hard))
        for name, maps in (*hard, *self.masks.items()):
            for threshold, kept in maps.items():
                yield name, threshold, kept


@torch.no_grad()
def difficulty_maps(
    student: Taps, teacher: Taps, labels: Tensor, *, config: rdd.Config, thresholds: Sequence[float]
) -> DifficultyMaps:
    """The maps of a batch.

    Args:
        student: its "logits" [B, C, h, w] at least.
        teacher: its "logits", and "aux" for the TFE weight.
        labels: int64 [B, H, W], IGNORE where unlabelled.
        config: `confidence` and `divergence` are read.
        thresholds: in (0, 1].
    """
    valid = labels != IGNORE

    def hard(confidence: Tensor) -> dict[float, Tensor]:
        return {t: hard_pixels(confidence, valid, threshold=t, min_kept=0) for t in thresholds}

    ours, theirs = (confidence_map(taps["logits"], labels, config.confidence) for taps in (student, teacher))
    student_hard, teacher_hard = hard(ours), hard(theirs)
    return DifficultyMaps(
        student_confidence=ours,
        teacher_confidence=theirs,
        tfe_weight=rdd.tfe_map(teacher, labels, divergence=config.divergence) if "aux" in teacher else None,
        student_hard=student_hard,
        teacher_hard=teacher_hard,
        masks={m: {t: rdd.combined(student_hard[t], teacher_hard[t], m) for t in thresholds} for m in MODES},
    )

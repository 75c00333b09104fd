"""RDD, Relative Difficulty Distillation (Liang et al.): a teacher weighs the task loss per pixel.

Two stages. TFE, teacher-full evaluated: a pixel weighs exp(-D), D the divergence of the teacher's
two heads. TSE, teacher-student evaluated: a pixel counts where exactly one of student and teacher
finds it hard. The defaults are the paper's; the published code differs in nearly every option, and
all of its readings are here, except its failures: an empty mask is 0 (published: NaN), as is an
all-ignored batch, and any number of classes and of pixels will do.
"""

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

from trainers.data import IGNORE
from trainers.difficulty import DifficultyWeighting, WeightingConfig, upsample
from trainers.difficulty.cross_entropy import (
    Confidence,
    Denominator,
    PixelLosses,
    confidence_map,
    pixel_cross_entropy,
    weighted_mean,
)
from trainers.difficulty.ohem import hard_pixels
from trainers.distributed.means import Mean, at_least_float32
from trainers.models import Taps

Divergence = Literal["primary_to_aux", "aux_to_primary"]
Combine = Literal["xor", "or", "and", "ohem"]


@dataclass(frozen=True, kw_only=True)
class Config(WeightingConfig):
    """Options of RDD; the defaults are the paper's, "published" marks those of the authors' code.

    Attributes:
        weighting: the tag.
        tfe_fraction: share of all iterations that the TFE stage lasts; 0 is TSE only, 1 TFE only.
        transition: `hard` switches to TSE; `linear` fades TFE out over the rest (published
            warm-up-lambda variant).
        divergence: KL(primary || aux) of the teacher's heads, or KL(aux || primary) as published.
        tfe_map: `per_pixel`, or `batch_mean`: one factor per rank batch, the mean of the map, which
            is what the published AT, DSD and CIRKD integrations come to (with `tfe_denominator`
            valid).
        tfe_denominator: what the TFE sum is divided by; published: `all`, too.
        threshold: a pixel is hard where the confidence is at most this.
        confidence: largest softmax probability, or the label's (published).
        combine: which pixels TSE keeps; `ohem`: those hard for the student, whatever the teacher
            finds.
        min_kept: least number of hard pixels per network, head and rank batch (published: 100000).
        denominator: what the TSE sum is divided by (published: `kept`).
        aux_weight: weight of the student's auxiliary head, which has a mask of its own from both
            auxiliary heads.
        class_weights: one factor per class in the TSE stage, or None; published: Cityscapes
            weights, TSE only.
    """

    weighting: Literal["rdd"] = "rdd"
    tfe_fraction: Annotated[float, Ge(0), Le(1)] = 0.1
    transition: Literal["hard", "linear"] = "hard"
    divergence: Divergence = "primary_to_aux"
    tfe_map: Literal["per_pixel", "batch_mean"] = "per_pixel"
    tfe_denominator: Denominator = "all"
    threshold: Annotated[float, Gt(0), Le(1)] = 0.7
    confidence: Confidence = "max"
    combine: Combine = "xor"
    min_kept: Annotated[int, Ge(0)] = 0
    denominator: Denominator = "all"

    @property
    def needs_teacher(self) -> bool:
        """RDD is the teacher's weighting: whatever the stage, at least its logits are read."""
        return True

    def tfe_iterations(self, iterations: int) -> int:
        """Length of the TFE stage in so many iterations."""
        return round(self.tfe_fraction * iterations)

    def earliest_stop(self, iterations: int) -> int | None:
        """The end of the TFE stage, whose loss is on another scale than TSE's; None for a trial that stays in it."""
        return self.tfe_iterations(iterations) if self.tfe_fraction < 1 else None


@torch.no_grad()
def tfe_weight(primary_logits: Tensor, aux_logits: Tensor, *, divergence: Divergence = "primary_to_aux") -> Tensor:
    """exp(-D), D the KL divergence of the teacher's two heads; large where the pixel is easy.

    Args:
        primary_logits: the teacher's [B, C, h, w].
        aux_logits: its auxiliary head's, the same shape.
        divergence: KL(primary || aux), the paper's, or KL(aux || primary), the published code's.

    Returns:
        [B, h, w] in (0, 1], without gradient.
    """
    primary = F.log_softmax(at_least_float32(primary_logits), dim=1)
    aux = F.log_softmax(at_least_float32(aux_logits), dim=1)
    first, second = (primary, aux) if divergence == "primary_to_aux" else (aux, primary)
    distance = F.kl_div(second, first, reduction="none", log_target=True).sum(dim=1)
    return torch.exp(-distance.clamp(min=0))  # rounding can leave a divergence just below 0


def tfe_map(teacher: Taps, labels: Tensor, *, divergence: Divergence = "primary_to_aux") -> Tensor:
    """`tfe_weight` of a teacher's "logits" and "aux" at the labels' size, [B, H, W].

    Where the auxiliary head stands at another stride, its logits are first brought to the size of the others.

    Raises:
        ValueError: the teacher lacks one of these taps.
    """
    primary, aux = _tap(teacher, "logits"), _tap(teacher, "aux")
    easy = tfe_weight(primary, upsample(aux, primary.shape[-2:]), divergence=divergence)
    return upsample(easy.unsqueeze(1), labels.shape[-2:]).squeeze(1)


@torch.no_grad()
def tse_mask(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.7,
    combine: Combine = "xor",
    confidence: Confidence = "max",
    min_kept: int = 0,
) -> Tensor:
    """Pixels that the TSE stage learns from, by what student and teacher find hard.

    Args:
        student_logits: [B, C, h, w], upsampled to the labels' size.
        teacher_logits: the same of the teacher; unread where `combine` is `ohem`.
        labels: int64 [B, H, W], IGNORE where unlabelled.
        threshold: hard is a confidence of at most this.
        combine: `xor`, `or`, `and` of the two networks' hard pixels, or `ohem`, the student's
            alone.
        confidence: largest softmax probability (paper), or that of the label (published).
        min_kept: least number of hard pixels of each network in this batch, by raising its
            threshold; above the number of valid pixels all are hard to both, which leaves `xor` none.

    Returns:
        bool [B, H, W], False at ignored pixels.
    """
    return _mask(
        pixel_cross_entropy(student_logits, labels),
        teacher_logits,
        labels,
        threshold=threshold,
        combine=combine,
        confidence=confidence,
        min_kept=min_kept,
    )


@torch.no_grad()
def _mask(
    student: PixelLosses,
    teacher_logits: Tensor | None,
    labels: Tensor,
    *,
    threshold: float,
    combine: Combine,
    confidence: Confidence,
    min_kept: int,
) -> Tensor:
    valid = labels != IGNORE

    def hard(certainty: Tensor) -> Tensor:
        return hard_pixels(certainty, valid, threshold=threshold, min_kept=min_kept)

    ours = hard(student.confidence(confidence))
    if combine == "ohem" or teacher_logits is None:
        return ours
    return combined(ours, hard(confidence_map(teacher_logits, labels, confidence)), combine)


def combined(student_hard: Tensor, teacher_hard: Tensor, combine: Literal["xor", "or", "and"]) -> Tensor:
    """The pixels that TSE keeps, bool, of those that are hard for student and for teacher."""
    both = {"xor": operator.xor, "or": operator.or_, "and": operator.and_}[combine]
    mask: Tensor = both(student_hard, teacher_hard)
    return mask


class Weighting(DifficultyWeighting[Config]):
    """RDD's weighting of the task loss, over the whole of a training.

    The TFE stage is the first round(tfe_fraction * iterations) iterations; the published code,
    counting from 1, stops one short of that. With a linear transition the share of TFE is then (N -
    k) / (N - K), for the k-th of N iterations counted from 1 and K the length of the stage: the
    published formula, 1 at k = K and 0 at the last.
    """

    def __init__(self, config: Config, *, num_classes: int, iterations: int) -> None:
        super().__init__(config, num_classes=num_classes, iterations=iterations)
        self.tfe_iterations = config.tfe_iterations(iterations)

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """Primary logits, and the auxiliary head's for the TFE map and the student head's mask."""
        config = self.config
        evaluated = self.tfe_iterations > 0 or config.transition == "linear"
        return ("logits", "aux") if evaluated or config.aux_weight > 0 else ("logits",)

    def taps_at(self, iteration: int, student: Collection[str]) -> tuple[str, ...]:
        """Both heads for the TFE map; for TSE's masks the head that each of the student's is compared with."""
        share = self.tfe_share(iteration)
        read: set[str] = {"logits", "aux"} if share > 0 else set()
        if share < 1 and self.config.combine != "ohem":
            read |= {_compared(name) for name in self.heads(student)}
        return tuple(sorted(read))

    def tfe_share(self, iteration: int) -> float:
        """Share of the TFE loss at this 0-based iteration; the rest is TSE's."""
        if iteration < self.tfe_iterations or self.tfe_iterations == self.iterations:
            return 1.0
        if self.config.transition == "hard":
            return 0.0
        left = self.iterations - (iteration + 1)
        return max(0.0, left / (self.iterations - self.tfe_iterations))

    def stage(self, iteration: int) -> str:
        """`tfe`, `tse`, or `tfe-tse` while TFE fades out."""
        share = self.tfe_share(iteration)
        return {1.0: "tfe", 0.0: "tse"}.get(share, "tfe-tse")

    def weights(self, iteration: int) -> dict[str, float]:
        """While TFE fades out, `main_tfe` and `aux_tfe` stand beside `main` and `aux`."""
        heads = super().weights(iteration)
        share = self.tfe_share(iteration)
        if share in (0.0, 1.0):
            return heads
        return {name: (1 - share) * weight for name, weight in heads.items()} | {
            f"{name}_tfe": share * weight for name, weight in heads.items()
        }

    def terms(self, student: Taps, teacher: Taps | None, labels: Tensor, *, iteration: int) -> dict[str, Mean]:
        """Task loss of each head: `main` and `aux`, of the stage that the iteration is in.

        While TFE fades out these are the TSE losses, and `main_tfe` and `aux_tfe` the TFE losses.
        They are terms of their own because their counts may differ, so that no single mean could
        hold both.

        Raises:
            ValueError: the teacher lacks a tap that the stage reads.
        """
        share = self.tfe_share(iteration)
        easy = self._tfe_map(teacher, labels) if share > 0 else None
        means: dict[str, Mean] = {}
        for name, tap in self.heads(student).items():
            losses = pixel_cross_entropy(student[tap], labels)
            if share < 1:
                means[name] = self._tse(losses, teacher, _compared(name), labels)
            if easy is not None:
                means[name if share == 1 else f"{name}_tfe"] = weighted_mean(
                    losses.cross_entropy,
                    labels,
                    easy,
                    denominator=self.config.tfe_denominator,
                )
        return means

    def _tfe_map(self, teacher: Taps | None, labels: Tensor) -> Tensor:
        easy = tfe_map(teacher or {}, labels, divergence=self.config.divergence)
        if self.config.tfe_map == "batch_mean":
            easy = easy.mean().expand_as(easy)
        self.class_shares.add("tfe", labels, easy)
        return easy

    def _tse(self, losses: PixelLosses, teacher: Taps | None, tap: str, labels: Tensor) -> Mean:
        config = self.config
        mask = _mask(
            losses,
            None if config.combine == "ohem" else _tap(teacher, tap),
            labels,
            threshold=config.threshold,
            combine=config.combine,
            confidence=config.confidence,
            min_kept=config.min_kept,
        )
        if tap == "logits":
            self.class_shares.add("tse", labels, mask)
        return weighted_mean(
            losses.cross_entropy,
            labels,
            mask,
            denominator=config.denominator,
            class_weights=self.class_weights(labels.device),
        )


def _compared(head: str) -> str:
    """The teacher's tap that a head of the student is compared with."""
    return "logits" if head == "main" else "aux"


def _tap(teacher: Taps | None, name: str) -> Tensor:
    if not teacher or name not in teacher:
        raise ValueError(
            f"RDD needs the teacher's {name!r} tap here, but got "
            f"{sorted(teacher) if teacher else 'no teacher'}; "
            "choose a teacher with an auxiliary head, or set tfe_fraction=0, transition='hard' "
            "and aux_weight=0"
        )
    return teacher[name]

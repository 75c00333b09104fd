"""DSD, double similarity distillation (Feng 2021, arXiv:2107.08591): similarities of pixels and of categories.

The paper's authors published no code; CIRKD's re-implementation, which the numbers here follow, compares one network's
auxiliary logits, features and logits, in that order. The category term is some 1e-7 at published sizes and shrinks with
the square of the positions, so that at its published weight of 10 it hardly counts beside the pixel term.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, check_one_shape, unit
from trainers.methods.at import unit_attention
from trainers.models import Taps


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    pixel: Annotated[float, Ge(0)] = 1e3
    category: Annotated[float, Ge(0)] = 10.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of DSD.

    Attributes:
        temperature: of the category term.
        missing_aux: what the pixel term does with a network that has no auxiliary head: refuse it, or read its logits
            twice (CIRKD's code on MobileNet students), whose residual to themselves is zero.
        weights: weight of each term.
    """

    temperature: Annotated[float, Gt(0)] = 4.0
    missing_aux: Literal["error", "logits"] = "error"
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        """What both networks must have; `missing_aux: logits` reads "aux" of a network that has it as well."""
        if self.weights.pixel:
            return ("aux", "features", "logits") if self.missing_aux == "error" else ("features", "logits")
        return ("logits",) if self.weights.category else ()


def pixel_similarity(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Mean:
    """Count pairs*B*N: squared difference of the unit residuals between the attention maps of one network's layers.

    A residual is that of two unit attention maps (`at.unit_attention`), the later minus the earlier, over all pairs,
    scaled to length 1. Where two maps of a network are the same it stays zero, and gets no gradient; the published
    code divides by 1e-12 there.

    Args:
        student_maps: two or more of [B, C, h, w], each with channels of its own.
        teacher_maps: as many; they get no gradient.

    Raises:
        ValueError: different numbers of maps, fewer than two, or maps of different sizes.
    """
    _check_maps(student_maps, teacher_maps)
    ours = _unit_residuals(student_maps)
    theirs = _unit_residuals([maps.detach() for maps in teacher_maps])
    return Mean((ours - theirs).square().sum(), ours.new_full((), ours.numel()))


def _check_maps(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> None:
    if len(student_maps) != len(teacher_maps) or len(student_maps) < 2:
        raise ValueError(
            "student and teacher must have equally many maps and at least two, but got "
            f"{len(student_maps)} and {len(teacher_maps)}; pass those of the same layers"
        )
    sizes = [list(maps.shape[-2:]) for maps in (*student_maps, *teacher_maps)]
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"all maps of student and teacher must have one size, but got {sizes}; choose networks with the same "
            "output stride, at most 16: at 32, the auxiliary head's map is larger than the others"
        )


def _unit_residuals(maps: Sequence[Tensor]) -> Tensor:
    """[B, pairs, N]; in full precision under autocast too, which leaves sums and elementwise arithmetic alone."""
    attention = torch.stack([unit_attention(layer) for layer in maps], dim=1)
    earlier, later = torch.triu_indices(len(maps), len(maps), offset=1, device=attention.device)
    return unit(attention[:, later] - attention[:, earlier], dim=2)


@in_full_precision
def category_similarity(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Mean:
    """Count B*C*C: squared difference of the overlaps of all pairs of classes in an image.

    A class is the softmax of its logits over positions, after 2x2 average pooling; windows at the border that reach
    beyond it average what they hold. The overlap of two classes is their inner product. No factor T^2, as published.

    Args:
        student_logits: [B, C, h, w].
        teacher_logits: [B, C, h, w]; they get no gradient.
        temperature: divides the pooled logits.

    Raises:
        ValueError: the shapes differ.
    """
    check_one_shape(student_logits, teacher_logits)
    difference = _overlaps(student_logits, temperature) - _overlaps(teacher_logits.detach(), temperature)
    return Mean(difference.square().sum(), difference.new_full((), difference.numel()))


def _overlaps(logits: Tensor, temperature: float) -> Tensor:
    pooled = F.avg_pool2d(logits, 2, ceil_mode=True).flatten(2)
    classes = torch.softmax(pooled / temperature, dim=2)
    return classes @ classes.mT


class Method(DistillationMethod[Config]):
    """DSD's two terms."""

    remedies: ClassVar[Mapping[str, str]] = {"aux": "set methods.dsd.missing_aux to logits"}

    def build(self) -> None:
        self._student_layers, self._teacher_layers = _layers(self.student_channels), _layers(self.teacher_channels)

    @classmethod
    def teacher_taps(cls, config: Config, teacher: Collection[str]) -> tuple[str, ...]:
        """With `missing_aux: logits`, "aux" of a teacher that has it as well."""
        return tuple(dict.fromkeys((*config.taps, *(_layers(teacher) if config.weights.pixel else ()))))

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Terms "pixel" and "category"; see `pixel_similarity` and `category_similarity`."""
        terms, config = {}, self.config
        if config.weights.pixel:
            ours = [student[layer] for layer in self._student_layers]
            theirs = [teacher[layer] for layer in self._teacher_layers]
            terms["pixel"] = pixel_similarity(ours, theirs)
        if config.weights.category:
            terms["category"] = category_similarity(
                student["logits"], teacher["logits"], temperature=config.temperature
            )
        return terms


def _layers(taps: Collection[str]) -> tuple[str, ...]:
    """Taps that the pixel term reads of a network with these."""
    return ("aux" if "aux" in taps else "logits", "features", "logits")

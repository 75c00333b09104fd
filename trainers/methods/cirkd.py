"""CIRKD, cross-image relational distillation (Yang 2022): to which pixels a pixel is similar, and how much.

Three terms compare distributions over similarities: of each pixel to the pixels of every image of the batch, and, after
a projection of the student to the teacher's channels, to pixels and to regions of earlier batches in memory banks
(`memory_banks.py`). The divergences are computed by chunks of rows (`contrast.py`). The paper writes KL(s || t); the
published code computes KL(t || s), and so does this.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from trainers.config import LATER
from trainers.distributed.means import Mean, at_least_float32, in_full_precision
from trainers.distributed.ranks import gathered
from trainers.methods import DistillationMethod, check_one_grid, unit
from trainers.methods.class_regions import resized_labels
from trainers.methods.contrast import similarity_kl
from trainers.methods.memory_banks import Fill, MemoryBank, PixelBank, RegionBank
from trainers.models import Taps

__all__ = ["Config", "Method", "PixelBank", "RegionBank", "memory_contrast", "minibatch_contrast"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term."""

    minibatch: Annotated[float, Ge(0)] = 1.0
    pixel_memory: Annotated[float, Ge(0)] = 0.1
    region_memory: Annotated[float, Ge(0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of CIRKD.

    Attributes:
        temperature: divides the cosines of all terms.
        kd_temperature: further divides those of the memory terms, which are multiplied by its square.
        pool: side and stride of average-pooling before the mini-batch term; 1 for none, 2 as its first release offers.
        span_ranks: compare with the images of all ranks in the mini-batch term, and not only with this rank's, as
            published.
        pixel_memory_size: pixels remembered per class.
        region_memory_size: regions remembered per class.
        pixels_per_class: how many pixels of a class are remembered from one image, at most.
        pixel_contrast_size: remembered pixels that a step contrasts with; `// classes + 1` of each class.
        region_contrast_size: the same of regions.
        fill: which pixels are remembered: those of the class, or, as published, the first of the image whatever they
            are of; see `PixelBank`.
        contrast_unfilled: contrast with the random initial content of the banks too, as published.
        half_banks: remember in float16, which halves the banks in memory and in checkpoints.
        weights: weight of each term.
    """

    temperature: Annotated[float, Gt(0)] = 0.1
    kd_temperature: Annotated[float, Gt(0)] = 1.0
    pool: Annotated[int, Ge(1)] = 1
    span_ranks: bool = False
    pixel_memory_size: Annotated[int, Ge(1)] = 20000
    region_memory_size: Annotated[int, Ge(1)] = 2000
    pixels_per_class: Annotated[int, Ge(1)] = 16
    pixel_contrast_size: Annotated[int, Ge(0)] = 4096
    region_contrast_size: Annotated[int, Ge(0)] = 1024
    fill: Fill = "by_class"
    contrast_unfilled: bool = False
    half_banks: bool = field(default=False, metadata=LATER)
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("features",)


@in_full_precision
def minibatch_contrast(
    student: Tensor, teacher: Tensor, *, temperature: float = 0.1, pool: int = 1, span_ranks: bool = False
) -> Mean:
    """Count B*N rows: KL(teacher || student) of a pixel's similarities to the N pixels of an image, a mean over images.

    Similarities are cosines / temperature, under a softmax over each image of the batch, the pixel's own included.

    Args:
        student: features [B, C_s, h, w].
        teacher: features [B, C_t, h, w]; they get no gradient.
        temperature: divides the cosines.
        pool: side and stride of average-pooling of the features; a window at the border may be smaller.
        span_ranks: compare with the images of all ranks; all have the same B. The mean over ranks is then that of one
            process with the whole batch.

    Raises:
        ValueError: height or width differ.
    """
    check_one_grid(student, teacher)
    maps = student, teacher.detach()
    if pool > 1:
        maps = F.avg_pool2d(maps[0], pool, ceil_mode=True), F.avg_pool2d(maps[1], pool, ceil_mode=True)
    ours, theirs = (_rows(unit(features, dim=1)) for features in maps)
    keys = (gathered(ours), gathered(theirs)) if span_ranks else (ours, theirs)
    images = len(student) * len(keys[0]) // len(ours)
    divergence = similarity_kl((ours, keys[0]), (theirs, keys[1]), temperature=temperature, groups=images)
    return Mean(divergence / images, divergence.new_full((), len(ours)))


@in_full_precision
def memory_contrast(
    student: Tensor,
    teacher: Tensor,
    bank_rows: Tensor,
    *,
    temperature: float = 0.1,
    kd_temperature: float = 1.0,
    counted: Tensor | None = None,
    usable: Tensor | None = None,
) -> Mean:
    """Count rows: kd_temperature^2 times KL(teacher || student) of a pixel's similarities to the rows of a bank.

    The masks say what boolean indexing of the arguments would, without waiting for the device. Where no row counts, the
    value is 0; the published code has NaN for a batch without labelled pixels.

    Args:
        student: unit rows [M, D].
        teacher: unit rows [M, D]; they get no gradient.
        bank_rows: unit rows [K, D]; they get none either.
        temperature: divides the cosines.
        kd_temperature: divides them again.
        counted: bool [M], the rows that count; None for all.
        usable: bool [K], the bank's rows to compare with; None for all, and where there is none, the value is 0.
    """
    keys = bank_rows.detach().to(student.dtype)
    divergence = similarity_kl(
        (student, keys),
        (teacher, keys),
        temperature=temperature * kd_temperature,
        counted=counted,
        usable=usable,
    )
    count = divergence.new_full((), len(student)) if counted is None else counted.sum().to(divergence.dtype)
    return Mean(kd_temperature**2 * divergence, count)


def _rows(features: Tensor) -> Tensor:
    """[B, C, h, w] as [B*h*w, C]."""
    return features.movedim(1, -1).flatten(0, 2).contiguous()


def _projection(student_channels: int, teacher_channels: int) -> nn.Sequential:
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
        "bn": nn.BatchNorm2d(teacher_channels),
        "relu": nn.ReLU(inplace=True),
        "conv2": nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
    }
    return nn.Sequential(OrderedDict(layers))


def _banks(config: Config, num_classes: int, channels: int) -> dict[str, MemoryBank]:
    """By the name of the term that contrasts with it."""
    banks: dict[str, MemoryBank] = {}
    if config.weights.pixel_memory:
        banks["pixel_memory"] = PixelBank(
            num_classes,
            config.pixel_memory_size,
            channels,
            contrast_size=config.pixel_contrast_size,
            contrast_unfilled=config.contrast_unfilled,
            half=config.half_banks,
            pixels_per_class=config.pixels_per_class,
            fill=config.fill,
        )
    if config.weights.region_memory:
        banks["region_memory"] = RegionBank(
            num_classes,
            config.region_memory_size,
            channels,
            contrast_size=config.region_contrast_size,
            contrast_unfilled=config.contrast_unfilled,
            half=config.half_banks,
        )
    return banks


class Method(DistillationMethod[Config]):
    """CIRKD between the features.

    The student's projection is normalised over all pixels of the batch, unlabelled ones included, as published.
    """

    def build(self) -> None:
        channels = self.teacher_channels["features"]
        self.banks = nn.ModuleDict(_banks(self.config, self.num_classes, channels))
        self.projection = _projection(self.student_channels["features"], channels) if self.banks else None

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Terms "minibatch", "pixel_memory" and "region_memory".

        The teacher's features enter the banks before the student's are contrasted with them.
        """
        ours, theirs, config = student["features"], teacher["features"], self.config
        terms = {}
        if config.weights.minibatch:
            terms["minibatch"] = minibatch_contrast(
                ours, theirs, temperature=config.temperature, pool=config.pool, span_ranks=config.span_ranks
            )
        if self.projection is not None:
            terms |= self._memory_terms(self.projection(ours), theirs.detach(), labels)
        return terms

    def _memory_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Mean]:
        check_one_grid(student, teacher)
        student, teacher = (unit(at_least_float32(features), dim=1) for features in (student, teacher))
        labels = resized_labels(labels, (student.shape[-2], student.shape[-1]))
        labelled = ((labels >= 0) & (labels < self.num_classes)).flatten()
        terms = {}
        for name, bank in self.banks.items():
            assert isinstance(bank, MemoryBank)
            bank.update(teacher, labels)
            rows, usable = bank.sample()
            terms[name] = memory_contrast(
                _rows(student),
                _rows(teacher),
                rows,
                temperature=self.config.temperature,
                kd_temperature=self.config.kd_temperature,
                counted=labelled,
                usable=usable,
            )
        return terms

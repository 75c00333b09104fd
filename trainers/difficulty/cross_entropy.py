"""The task loss: cross entropy at every pixel of the label map, and its weighted mean.

Upsampled logits are the largest tensors of a training step: interpolate + cross_entropy hold four
of them per head. Here they are made a block of rows at a time, in the forward and again in the
backward pass, and none is kept; that is no slower, for memory not touched is time saved. They are
made by matrix products, which a CPU does at a third of the cost of interpolate and its gradient.
The maximum softmax probability then costs nothing: it is 1 / sum exp(x - max x). All of it is done
to the base 2, whose powers a CPU takes twice as fast.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.data import IGNORE
from trainers.distributed.means import Mean, in_full_precision

Denominator = Literal["all", "valid", "kept"]
Confidence = Literal["max", "target"]

LN2 = math.log(2)
CPU_BLOCK, BLOCK = 250_000, 2**25
"""Upsampled scores held at a time: 1 MB in float32 on a CPU, the fastest of 0.06 to 10 million, and 128 MB on devices
that want large pieces of work."""


class PixelLosses(NamedTuple):
    """What one network's logits say of every labelled pixel, both [B, H, W]."""

    cross_entropy: Tensor
    """0 at ignored pixels."""
    max_probability: Tensor
    """Largest softmax probability; no gradient."""

    def confidence(self, kind: Confidence) -> Tensor:
        """Probability of the likeliest class, or of the labelled one (1 at ignored pixels)."""
        return self.max_probability if kind == "max" else torch.exp(-self.cross_entropy.detach())


class _UpsampledCrossEntropy(torch.autograd.Function):
    """(logits [B, C, h, w], labels [B, H, W]) -> cross entropy, max probability [B, H, W]."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        ignored = labels == IGNORE
        index = labels.masked_fill(ignored, 0).unsqueeze(1)
        cross_entropy, max_probability, log_normaliser = (logits.new_empty(labels.shape) for _ in range(3))
        upsampling = _Upsampling(logits, labels)
        wide = upsampling.widened(logits)
        for rows in upsampling.blocks:
            scores = upsampling.rows(wide, rows)
            peak = scores.amax(dim=1, keepdim=True)
            scores -= peak
            target = scores.gather(1, index[:, :, rows]).squeeze(1)
            normaliser = scores.exp2_().sum(dim=1)
            torch.reciprocal(normaliser, out=max_probability[:, rows])
            normaliser.log2_()
            torch.sub(normaliser, target, out=cross_entropy[:, rows])
            torch.add(normaliser, peak.squeeze(1), out=log_normaliser[:, rows])
        ctx.save_for_backward(logits, labels, log_normaliser)
        ctx.mark_non_differentiable(max_probability)
        return cross_entropy.mul_(LN2).masked_fill_(ignored, 0), max_probability

    @staticmethod
    @once_differentiable
    @in_full_precision
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        logits, labels, log_normaliser = ctx.saved_tensors
        ignored = labels == IGNORE
        index = labels.masked_fill(ignored, 0).unsqueeze(1)
        gradient = gradient.masked_fill(ignored, 0).unsqueeze(1)
        upsampling = _Upsampling(logits, labels)
        wide = upsampling.widened(logits)
        total = torch.zeros_like(wide)
        for rows in upsampling.blocks:
            upstream = gradient[:, :, rows]
            # softmax * upstream, less upstream at the label
            probabilities = upsampling.rows(wide, rows).sub_(log_normaliser[:, None, rows]).exp2_()
            full = probabilities.mul_(upstream)
            full.scatter_add_(1, index[:, :, rows], -upstream)
            upsampling.add_rows(total, rows, full)
        return upsampling.narrowed(total), None


class _Upsampling:
    """`upsample(logits, labels' size)` as two matrix products, and their transposes for the gradient.

    All columns are made at once, which is little for the few rows that logits have; then rows, a block at a time.
    """

    def __init__(self, logits: Tensor, labels: Tensor) -> None:
        batch, channels, self.height, width = logits.shape
        _, self.full_height, full_width = labels.shape
        self._down = _interpolation(self.height, self.full_height, logits)
        self._across = _interpolation(width, full_width, logits)
        held = CPU_BLOCK if logits.device.type == "cpu" else BLOCK
        step = max(1, held // (batch * channels * full_width))
        starts = range(0, self.full_height, step)
        self.blocks = [slice(start, min(start + step, self.full_height)) for start in starts]
        """Slices of the labels' rows, so few that their upsampled scores stay near the cache."""

    def widened(self, logits: Tensor) -> Tensor:
        """Logits to the base 2, [B, C, h, W]."""
        return (logits / LN2) @ self._across.mT

    def narrowed(self, gradient: Tensor) -> Tensor:
        return gradient @ self._across

    def rows(self, wide: Tensor, rows: slice) -> Tensor:
        """[B, C, rows, W] of [B, C, h, W]."""
        read = self._read(rows)
        return self._down[rows, read] @ wide[:, :, read]

    def add_rows(self, wide: Tensor, rows: slice, gradient: Tensor) -> None:
        read = self._read(rows)
        wide[:, :, read] += self._down[rows, read].mT @ gradient

    def _read(self, rows: slice) -> slice:
        """The rows of the logits that these rows are mixed from."""
        first, last = (row * (self.height - 1) // max(self.full_height - 1, 1) for row in (rows.start, rows.stop - 1))
        return slice(first, last + 2)


def _interpolation(small: int, full: int, like: Tensor) -> Tensor:
    """[full, small], what each of `full` values takes of each of `small` ones."""
    position = torch.arange(full, dtype=torch.float64, device=like.device) * (small - 1) / max(full - 1, 1)
    distance = position.unsqueeze(1) - torch.arange(small, device=like.device)
    return (1 - distance.abs()).clamp(min=0).to(like.dtype)


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """[B, C, h, w] to [B, C, *size], bilinear, align_corners=True; itself if it has that size."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=True)


@in_full_precision
def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> PixelLosses:
    """What logits [B, C, h, w], upsampled to the labels' size, say of labels [B, H, W]."""
    return PixelLosses(*_UpsampledCrossEntropy.apply(logits, labels))


@torch.no_grad()
@in_full_precision
def max_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """That of `pixel_cross_entropy`, for less, since nothing is asked of the labels but their size."""
    largest = logits.new_empty(labels.shape)
    upsampling = _Upsampling(logits, labels)
    wide = upsampling.widened(logits)
    for rows in upsampling.blocks:
        scores = upsampling.rows(wide, rows)
        scores -= scores.amax(dim=1, keepdim=True)
        torch.reciprocal(scores.exp2_().sum(dim=1), out=largest[:, rows])
    return largest


@torch.no_grad()
def confidence_map(logits: Tensor, labels: Tensor, kind: Confidence) -> Tensor:
    """That of `PixelLosses`, [B, H, W], of a network whose losses nobody asks for."""
    if kind == "max":
        return max_probability(logits, labels)
    return pixel_cross_entropy(logits, labels).confidence(kind)


def weighted_mean(
    losses: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    *,
    denominator: Denominator = "valid",
    class_weights: Tensor | Sequence[float] | None = None,
) -> Mean:
    """Count as `denominator` says: losses [B, H, W], 0 at ignored pixels, times their weights.

    See `weighted_cross_entropy` for the arguments.
    """
    valid = labels != IGNORE
    weights = torch.ones_like(losses) if weight is None else _full_map(weight, losses)
    if class_weights is not None:
        table = torch.as_tensor(class_weights, dtype=losses.dtype, device=losses.device)
        weights = weights * table[labels.masked_fill(~valid, 0)]
    counts = {
        "all": lambda: losses.new_full((), losses.numel()),
        "valid": lambda: valid.sum().to(losses.dtype),
        "kept": lambda: (weights * valid).sum(),
    }
    return Mean((losses * weights).sum(), counts[denominator]())


def _full_map(weight: Tensor, losses: Tensor) -> Tensor:
    maps = weight.detach().to(losses.dtype).unsqueeze(1)
    return upsample(maps, losses.shape[-2:]).squeeze(1)


def weighted_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    *,
    denominator: Denominator = "valid",
    class_weights: Tensor | Sequence[float] | None = None,
) -> Mean:
    """Count as `denominator` says: cross entropy at the labels' resolution, times weights.

    Args:
        logits: [B, C, h, w] at any resolution; upsampled to the labels' (bilinear,
            align_corners=True).
        labels: int64 [B, H, W], IGNORE where unlabelled; such pixels add nothing to the total.
        weight: None for plain cross entropy, a map [B, h, w], which is upsampled the same way, or a
            mask [B, H, W]; it gets no gradient.
        denominator: `all` counts B*H*W, `valid` the pixels not ignored, `kept` adds up the weights
            (times class weights) of the valid pixels.
        class_weights: C factors, chosen by label.

    Raises:
        ValueError: not one class weight per class.
    """
    if class_weights is not None:
        check_class_weights(class_weights, logits.shape[1])
    losses = pixel_cross_entropy(logits, labels).cross_entropy
    return weighted_mean(losses, labels, weight, denominator=denominator, class_weights=class_weights)


def check_class_weights(class_weights: Tensor | Sequence[float], num_classes: int) -> None:
    """Raises ValueError unless there is one weight per class."""
    if len(class_weights) != num_classes:
        raise ValueError(
            f"class_weights must hold one weight per class, but got {len(class_weights)} for "
            f"{num_classes} classes; give {num_classes} weights or leave class_weights out"
        )

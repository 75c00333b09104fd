"""The discriminator of SKD's holistic distillation and its losses, as SKD, IFVD and CIRKD share them.

The network is a self-attention GAN's (Zhang 2018, arXiv:1805.08318) on segmentation logits: batch normalisation, four
strided convolutions under spectral normalisation, self-attention after the third and the fourth, and a 4x4 convolution
to the scores. Names in its state dict are the published ones.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.distributed.means import Mean, in_full_precision

GanLoss = Literal["wgan-gp", "hinge", "wgan"]

SMALLEST = 64
"""Shorter side of the smallest logits that four strides of 2 and a 4x4 convolution can take, in pixels."""


class SpectralNormConv(nn.Module):
    """4x4 convolution with stride 2 whose weight is divided by its largest singular value.

    One power iteration at every forward, in evaluation too, as published; torch's own spectral norm iterates in
    training only. The singular vectors are constants to autograd, the value is not. They are replaced in place, as
    published: the gradient of several forwards is that of the vectors after the last.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        weight = nn.Conv2d(in_channels, out_channels, 4).weight.detach()
        self.module = _Spectrum(weight)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, out_channels, h // 2, w // 2]."""
        weight = self.module.weight_bar / self.module.largest_singular_value()
        return F.conv2d(maps, weight, self.module.bias, stride=2, padding=1)


class _Spectrum(nn.Module):
    """A convolution's weight and bias with the weight's leading singular vectors."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(len(weight)))
        self.weight_u = nn.Parameter(_unit(torch.randn(len(weight))), requires_grad=False)
        self.weight_v = nn.Parameter(_unit(torch.randn(weight[0].numel())), requires_grad=False)
        self.weight_bar = nn.Parameter(weight)

    def largest_singular_value(self) -> Tensor:
        matrix = self.weight_bar.flatten(1)
        constant = matrix.detach()
        self.weight_v.data = _unit(constant.T @ self.weight_u.data)
        self.weight_u.data = _unit(constant @ self.weight_v.data)
        return torch.dot(self.weight_u, matrix @ self.weight_v)


def _unit(vector: Tensor) -> Tensor:
    length: Tensor = vector.norm() + 1e-12
    return vector / length


class SelfAttention(nn.Module):
    """Attention of every position to every other, added to the maps by a factor that starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same."""
        query, key, value = (conv(maps).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv))
        attention = torch.softmax(query.mT @ key, dim=2)
        mixed: Tensor = (value @ attention.mT).view_as(maps)
        return self.gamma * mixed + maps


class Discriminator(nn.Module):
    """Logits [B, C, h, w] to scores [B, 1, h', w'], in at least float32; see `enlarged` for sides below 64.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (num_classes, 64, 128, 256, 512)
        blocks = [nn.Sequential(SpectralNormConv(narrow, wide), nn.LeakyReLU(0.1)) for narrow, wide in pairwise(widths)]
        # the order is that of the published state dicts
        self.l4, self.l1, self.l2, self.l3 = blocks[3], blocks[0], blocks[1], blocks[2]
        self.last = nn.Sequential(nn.Conv2d(widths[-1], 1, 4))
        self.attn1, self.attn2 = SelfAttention(widths[3]), SelfAttention(widths[4])
        self.preprocess_additional = nn.BatchNorm2d(num_classes)

    @in_full_precision
    def forward(self, logits: Tensor) -> Tensor:
        """Scores [B, 1, h, w] of logits [B, C, H, W]; higher for the teacher's logits than the student's."""
        maps = self.preprocess_additional(enlarged(logits))
        maps = self.attn1(self.l3(self.l2(self.l1(maps))))
        scores: Tensor = self.last(self.attn2(self.l4(maps)))
        return scores


def enlarged(logits: Tensor) -> Tensor:
    """Logits of which no side is below 64 pixels: smaller ones are resized (bilinear, align_corners=True)."""
    size = [max(SMALLEST, side) for side in logits.shape[-2:]]
    if size == list(logits.shape[-2:]):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


@in_full_precision
def generator_loss(d_student: Tensor) -> Mean:
    """Count B: minus the discriminator's score of the student, a mean over the positions of an image.

    Args:
        d_student: scores [B, 1, h, w].
    """
    return _over_images(-d_student)


@in_full_precision
def discriminator_loss(d_student: Tensor, d_teacher: Tensor, *, kind: GanLoss = "wgan-gp") -> Mean:
    """Count B: what the discriminator minimises, its gradient penalty left out; the teacher is real.

    Args:
        d_student: scores [B, 1, h, w] of the student's logits.
        d_teacher: scores of the teacher's.
        kind: "hinge" is mean relu(1 - D(T)) + mean relu(1 + D(S)); "wgan", as "wgan-gp", is mean D(S) - mean D(T).
    """
    if kind == "hinge":
        return _over_images(F.relu(1 - d_teacher) + F.relu(1 + d_student))
    return _over_images(d_student - d_teacher)


def _over_images(scores: Tensor) -> Mean:
    return Mean(scores.flatten(1).mean(1).sum(), scores.new_full((), len(scores)))


@in_full_precision
def gradient_penalty(
    discriminator: nn.Module, student_logits: Tensor, teacher_logits: Tensor, alpha: Tensor, *, weight: float = 10.0
) -> Mean:
    """Count B: weight * (|g| - 1)^2 with g the gradient of an image's score by its logits (arXiv:1704.00028).

    Args:
        discriminator: gives scores for [B, C, h, w].
        student_logits: [B, C, h, w]; like the teacher's, they get no gradient.
        teacher_logits: [B, C, h, w].
        alpha: [B, 1, 1, 1], the teacher's share of each mixture, in [0, 1].
        weight: lambda of the paper.
    """
    mixture = alpha * teacher_logits.detach() + (1 - alpha) * student_logits.detach()
    mixture.requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(mixture).sum(), mixture, create_graph=True)
    excess = gradient.flatten(1).norm(dim=1) - 1
    return Mean(weight * excess.square().sum(), excess.new_full((), len(excess)))

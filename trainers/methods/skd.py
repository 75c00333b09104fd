"""SKD, structured knowledge distillation (Liu 2019, arXiv:1903.04197): pixel-wise, pair-wise and holistic.

The pixel-wise term is `kd.pixel_kl`. The published code writes it as a cross entropy that is not divided by the batch,
which at T = 1 is the batch size times this term, plus a constant. The pair-wise term compares the affinities of all
pairs of positions. The holistic term lets a discriminator of `discriminator.py` judge the logits as a whole.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

from trainers import optim
from trainers.distributed.means import Mean, at_least_float32, in_full_precision
from trainers.methods import Adversary, DistillationMethod, check_one_grid, unit, weighed
from trainers.methods.discriminator import (
    Discriminator,
    GanLoss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from trainers.methods.kd import pixel_kl
from trainers.models import Taps

__all__ = [
    "Config",
    "Discriminator",
    "Method",
    "discriminator_loss",
    "generator_loss",
    "gradient_penalty",
    "pairwise_affinity",
]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term; the published script has 0.5 for `pairwise`."""

    pixel: Annotated[float, Ge(0)] = 10.0
    pairwise: Annotated[float, Ge(0)] = 1.0
    holistic: Annotated[float, Ge(0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """How the discriminator learns; the defaults are those of CIRKD's runs but for the loss, which is SKD's.

    Attributes:
        loss: of the discriminator; "wgan-gp" is "wgan" with a gradient penalty.
        penalty: weight of the gradient penalty.
        optimizer: Adam with betas 0.9 and 0.99 (CIRKD, IFVD), or SGD with momentum 0.9 (SKD).
        lr: its learning rate, the peak where it decays.
        decay: "poly" follows the student's poly schedule with power 0.9 (SKD, IFVD); "none" keeps `lr` (CIRKD).
    """

    loss: GanLoss = "wgan-gp"
    penalty: Annotated[float, Ge(0)] = 10.0
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Gt(0)] = 4e-4
    weight_decay: Annotated[float, Ge(0)] = 0.0
    decay: Literal["poly", "none"] = "poly"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of SKD.

    Attributes:
        temperature: of the pixel-wise term.
        pool: max-pooling before the affinities: side and stride of the windows, or, below 1, the share of the map that
            a window spans (0.5, as published, leaves four to nine nodes).
        detach_norm: keep the features' norms out of the gradient, as the published code does.
    """

    temperature: Annotated[float, Gt(0)] = 1.0
    pool: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Le(1)] = 2
    detach_norm: bool = False
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        terms = weighed(self)
        read = {"logits": "pixel" in terms or "holistic" in terms, "features": "pairwise" in terms}
        return tuple(tap for tap, wanted in read.items() if wanted)


@in_full_precision
def pairwise_affinity(student: Tensor, teacher: Tensor, *, pool: int | float = 2, detach_norm: bool = False) -> Mean:
    """Count B*N'*N': squared difference of the cosines between all pairs of the N' positions left by max-pooling.

    With A = F^T F, |A_s - A_t|^2 is |F_s F_s^T|^2 + |F_t F_t^T|^2 - 2 |F_s F_t^T|^2, whose matrices have the size of
    the channels; no map of N' x N' is made. They are added up in float64, because the three nearly cancel.

    Args:
        student: features [B, C_s, h, w].
        teacher: features [B, C_t, h, w]; they get no gradient.
        pool: an int is side and stride of the windows; a float in (0, 1] the share of the map that a window spans. A
            window at the border may be smaller.
        detach_norm: norms get no gradient, and 1e-8 is added to them (the published SKD).

    Raises:
        ValueError: maps of different sizes.
    """
    check_one_grid(student, teacher)
    ours = _unit_nodes(student, pool, detach_norm)
    theirs = _unit_nodes(teacher.detach(), pool, detach_norm)
    batch, _, nodes = ours.shape
    total = _squared_gram(ours, ours) + _squared_gram(theirs, theirs) - 2 * _squared_gram(ours, theirs)
    return Mean(total.to(student.dtype), student.new_full((), batch * nodes**2))


def _unit_nodes(features: Tensor, pool: int | float, detach_norm: bool) -> Tensor:
    """[B, C, N'] in float64, every position's vector of length 1."""
    size = features.shape[-2:]
    window = [pool, pool] if isinstance(pool, int) else [max(1, int(side * pool)) for side in size]
    nodes = F.max_pool2d(features, window, window, ceil_mode=True).flatten(2).double()
    if detach_norm:
        length: Tensor = nodes.norm(dim=1, keepdim=True).detach() + 1e-8
        return nodes / length
    return unit(nodes, dim=1)


def _squared_gram(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.mT).square().sum()


class Critic(Adversary):
    """The discriminator in training: the teacher's logits are real, the student's are not."""

    def __init__(self, config: DiscriminatorConfig, num_classes: int) -> None:
        super().__init__(Discriminator(num_classes))
        self.config = config

    def forward(self, student: Taps, teacher: Taps) -> dict[str, Mean]:
        """Terms "discriminator" and, with wgan-gp, "penalty"."""
        fake, real = (at_least_float32(taps["logits"].detach()) for taps in (student, teacher))
        terms = {"discriminator": discriminator_loss(self.network(fake), self.network(real), kind=self.config.loss)}
        if self.config.loss == "wgan-gp":
            alpha = torch.rand(len(fake), 1, 1, 1, dtype=fake.dtype, device=fake.device)
            terms["penalty"] = gradient_penalty(self.network, fake, real, alpha, weight=self.config.penalty)
        return terms

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam or SGD, as configured."""
        config = self.config
        if config.optimizer == "adam":
            return optim.adam(self.trainable, lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay)
        return optim.sgd(self.trainable, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)

    def rate(self, iteration: int, iterations: int) -> float:
        """`lr`, decayed where configured."""
        power = 0.9 if self.config.decay == "poly" else 0.0
        return float(self.config.lr * (1 - iteration / iterations) ** power)


class Method(DistillationMethod[Config]):
    """SKD's three terms."""

    def build(self) -> None:
        self.critic = Critic(self.config.discriminator, self.num_classes) if self.config.weights.holistic else None

    @property
    def adversary(self) -> Adversary | None:
        """The discriminator, where the holistic term has weight."""
        return self.critic

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Terms "pixel", "pairwise" and "holistic"."""
        terms, config = {}, self.config
        if config.weights.pixel:
            terms["pixel"] = pixel_kl(student["logits"], teacher["logits"], temperature=config.temperature)
        if config.weights.pairwise:
            terms["pairwise"] = pairwise_affinity(
                student["features"], teacher["features"], pool=config.pool, detach_norm=config.detach_norm
            )
        if self.critic is not None:
            terms["holistic"] = generator_loss(self.critic.network(student["logits"]))
        return terms

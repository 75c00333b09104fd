"""The network that reads positions from features, for IDD: a small PosENet (Islam 2020, arXiv:2001.08248).

It convolves without zero padding, so that it cannot make up positions itself and has to find them in the features,
whose network had them from its own padding. Unlike PosENet it reads one map of features instead of five, gives both
directions at once, and ends in no sigmoid. How it learns is the business of `trainers.methods.position_training`.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from trainers.config import OptimizerConfig
from trainers.distributed.means import in_full_precision


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The position network and how it learns from the frozen teacher's features.

    Attributes:
        hidden_channels: of every layer but the last.
        depth: 3x3 convolutions; each takes two rows and columns away, so that maps need a side of 2 * depth + 1.
        iterations: optimizer steps.
        batch: images per step.
        optimizer: with the poly schedule over `iterations`.
    """

    hidden_channels: Annotated[int, Ge(1)] = 64
    depth: Annotated[int, Ge(1)] = 2
    iterations: Annotated[int, Ge(1)] = 1000
    batch: Annotated[int, Ge(1)] = 8
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="adamw", lr=1e-3))


class PositionNetwork(nn.Module):
    """Features [B, channels, h, w] to maps [B, 2, h, w] of the position across (HOR) and down (VER), from 0 to 1.

    In at least float32. Frozen by `freeze`, it stays in eval mode, and gives a gradient to its input alone.
    """

    def __init__(self, channels: int, config: Pretraining) -> None:
        super().__init__()
        self.depth = config.depth
        layers: list[nn.Module] = []
        for _ in range(config.depth - 1):
            layers += [
                nn.Conv2d(channels, config.hidden_channels, 3, bias=False),
                nn.BatchNorm2d(config.hidden_channels),
                nn.ReLU(inplace=True),
            ]
            channels = config.hidden_channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 2, 3))
        self._frozen = False

    def freeze(self) -> "PositionNetwork":
        """Learn no more, neither weights nor statistics."""
        self._frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PositionNetwork":
        """Stays in eval mode where it is frozen."""
        return super().train(mode and not self._frozen)

    @in_full_precision
    def forward(self, features: Tensor) -> Tensor:
        """The maps, resized (bilinear, align_corners=True) to the features' size.

        Raises:
            ValueError: maps too small for so many convolutions.
        """
        size, needed = features.shape[-2:], 2 * self.depth + 1
        if min(size) < needed:
            raise ValueError(
                f"a position network of depth {self.depth} needs feature maps of at least {needed} x {needed}, but got "
                f"{size[0]} x {size[1]}; lower methods.idd.pretraining.depth or enlarge augment.crop"
            )
        return F.interpolate(self.layers(features), size=size, mode="bilinear", align_corners=True)


def positions(maps: Tensor) -> Tensor:
    """What perfect maps [B, 2, h, w] would hold: [2, h, w], j / (w - 1) across and i / (h - 1) down."""
    height, width = maps.shape[-2:]
    across = torch.linspace(0, 1, width, dtype=maps.dtype, device=maps.device)
    down = torch.linspace(0, 1, height, dtype=maps.dtype, device=maps.device)
    return torch.stack([across.expand(height, width), down[:, None].expand(height, width)])

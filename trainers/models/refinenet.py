"""RefineNet (arXiv:1611.06612), four cascaded blocks on a ResNet, as DrSleep/refinenet-pytorch builds it.

From the deepest stage to the shallowest each block adapts its stage by residual units, adds the block below it,
enlarged, pools with chained windows, and refines. The logits are at stride 4. The classifier is a 3x3 convolution, and
the features are the map before it and after its dropout: it ends with a residual unit and is the one architecture whose
features are not activated.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

from trainers.models import SegmentationNetwork, Taps
from trainers.models.blocks import turn_off_dropout
from trainers.models.encoder import BackboneConfig, Encoder


@dataclass(frozen=True, kw_only=True)
class Config(BackboneConfig):
    """RefineNet-101."""

    architecture: Literal["refinenet"] = "refinenet"
    backbone: str = "resnet101.tv_in1k"
    """Any that `encoder.Encoder` builds; published with the ResNet-101 of a 7x7 stem, undilated."""
    head_channels: Annotated[int, Gt(0)] = 256
    """Channels of the features and of every block; the deepest has twice as many."""
    dropout: bool = True
    """False turns off all dropout; the published rate is 0.5."""


class Network(SegmentationNetwork):
    """Taps at stride 4: "logits" and "features"."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(config.backbone, output_stride=32, weights=config.weights)
        channels = config.head_channels
        *shallow, deepest = self.encoder.stages.feature_info.channels()[-4:]
        self.deepest = RefineBlock(deepest, 2 * channels, out_channels=channels, fuses=False)
        self.blocks = nn.ModuleList(
            RefineBlock(stage, channels, out_channels=None if position == 0 else channels)
            for position, stage in enumerate(shallow)
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.channels = {"logits": num_classes, "features": channels}
        if not config.dropout:
            turn_off_dropout(self)

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps."""
        first, second, third, fourth = self.encoder.stages(images)[-4:]
        refined = self.deepest(self.dropout(fourth))
        stages = (first, second, self.dropout(third))
        for block, stage in zip(reversed(self.blocks), reversed(stages), strict=True):
            refined = block(stage, refined)
        features = self.dropout(refined)
        return {"logits": self.classifier(features), "features": features}


class RefineBlock(nn.Module):
    """Adapt a stage, fuse it with the block below, pool, refine, and project for the block above."""

    def __init__(self, in_channels: int, channels: int, *, out_channels: int | None, fuses: bool = True) -> None:
        super().__init__()
        self.adapt = nn.Sequential(_convolution(in_channels, channels), *(ResidualUnit(channels) for _ in range(2)))
        if fuses:
            self.adapt.append(_convolution(channels, channels))
        self.pools = nn.ModuleList(_convolution(channels, channels) for _ in range(4))
        self.refine = nn.Sequential(*(ResidualUnit(channels) for _ in range(3)))
        if out_channels is not None:
            self.refine.append(_convolution(channels, out_channels))

    def forward(self, stage: Tensor, below: Tensor | None = None) -> Tensor:
        """[B, in_channels, h, w] and the smaller map of the block below to a map of the stage's size."""
        maps = self.adapt(stage)
        if below is not None:
            maps = maps + F.interpolate(below, size=maps.shape[2:], mode="bilinear", align_corners=True)
        refined: Tensor = self.refine(_chain_pooled(F.relu(maps), self.pools))
        return refined


class ResidualUnit(nn.Module):
    """ReLU and a 3x3 convolution, twice, beside a shortcut; no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), _convolution(channels, channels, bias=True), nn.ReLU(), _convolution(channels, channels)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        out: Tensor = maps + self.branch(maps)
        return out


def _chain_pooled(maps: Tensor, convolutions: nn.ModuleList) -> Tensor:
    """The maps plus a chain of 5x5 max-pools, each through a convolution and into the next."""
    chained = maps
    for convolution in convolutions:
        chained = convolution(F.max_pool2d(chained, 5, stride=1, padding=2))
        maps = maps + chained
    return maps


def _convolution(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)

"""ICNet (arXiv:1704.08545) on ResNet-50, as liminn/ICNet-pytorch builds it.

The image at full, half and quarter size, through three convolutions, two stages of a backbone and all of it, fused from
small to large. As published it has 28,298,376 parameters for 19 classes, 2,049,000 of which are the backbone's
ImageNet classifier, which nothing reads, and 73.63 G multiply-accumulates at 512x1024, because the whole backbone runs
on the half-size image too, though only its second stage is read there. Without both (`lean`) it has 26,249,376 and
28.53 G: near the literature's 26.50 M and 28.30 G, which are not reproduced.

The features are the fused map before the last 1x1 classifier, 128 activated channels, both at stride 4. Each fusion
guides its low-resolution side by a classifier of its own, so that there are two auxiliary taps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models import SegmentationNetwork, Taps
from trainers.models.blocks import ConvBN, ConvBNReLU
from trainers.models.encoder import BackboneConfig, Encoder

CHANNELS = 128
"""Of every fused map."""


@dataclass(frozen=True, kw_only=True)
class Config(BackboneConfig):
    """ICNet; published on resnet50."""

    architecture: Literal["icnet"] = "icnet"
    backbone: str = "resnet50"
    """Any that `encoder.Encoder` builds at output stride 8."""
    lean: bool = False
    """Leave out what nothing reads: the frozen ImageNet classifier, and stages on the half-size image. In evaluation
    the taps are the same; in training, batch normalisation no longer sees the half-size image in those stages."""


class Network(SegmentationNetwork):
    """Taps: "logits" and "features" at stride 4, "aux" at stride 8, "aux_low" at stride 16."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(config.backbone, output_stride=8, weights=config.weights)
        strides = self.encoder.stages.feature_info.reduction()
        self.second = strides.index(8)
        at_half = self.encoder.stages.feature_info.channels()[self.second]
        self.full = nn.Sequential(*(ConvBNReLU(*pair, 3, stride=2) for pair in ((3, 32), (32, 32), (32, 64))))
        self.fuse_low = CascadeFusion(self.encoder.channels[1], at_half, num_classes)
        self.fuse_high = CascadeFusion(CHANNELS, 64, num_classes)
        self.classifier = nn.Conv2d(CHANNELS, num_classes, 1, bias=False)
        self.lean = config.lean
        if config.lean:
            _check_stages(self.encoder, config.backbone)
        else:
            self.imagenet = nn.Linear(self.encoder.channels[1], 1000).requires_grad_(False)
        self.channels = {"logits": num_classes, "features": CHANNELS, "aux": num_classes, "aux_low": num_classes}

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W], at least 32 pixels a side, to taps."""
        low = _with_context(self.encoder(_scaled(images, 4))[1])
        middle = self._second_stage(_scaled(images, 2))
        fused, aux_low = self.fuse_low(low, middle)
        fused, aux = self.fuse_high(fused, self.full(images))
        features = _resized(fused, [(size + 3) // 4 for size in images.shape[2:]])
        return {"logits": self.classifier(features), "features": features, "aux": aux, "aux_low": aux_low}

    def _second_stage(self, images: Tensor) -> Tensor:
        if not self.lean:
            maps: Tensor = self.encoder.stages(images)[self.second]
            return maps
        last = self.encoder.stages.feature_info.module_name(self.second)
        for name, stage in self.encoder.stages.items():
            images = stage(images)
            if name == last:
                break
        return images


class CascadeFusion(nn.Module):
    """The smaller map, enlarged and through a dilated 3x3 convolution, plus the larger one through a 1x1."""

    def __init__(self, low_channels: int, high_channels: int, num_classes: int) -> None:
        super().__init__()
        self.low = ConvBN(low_channels, CHANNELS, 3, dilation=2)
        self.high = ConvBN(high_channels, CHANNELS, 1)
        self.guide = nn.Conv2d(CHANNELS, num_classes, 1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The fused map and the guiding logits, both as large as `high`."""
        enlarged = self.low(_resized(low, high.shape[2:]))
        return F.relu(enlarged + self.high(high)), self.guide(enlarged)


def _check_stages(encoder: Encoder, backbone: str) -> None:
    if not isinstance(encoder.stages, nn.ModuleDict):
        raise ValueError(
            f"lean needs a backbone that is a chain of stages, but {backbone!r} is none; "
            "set lean=False, or name a ResNet"
        )


def _with_context(maps: Tensor) -> Tensor:
    """The maps plus their means over grids of 1, 2, 3 and 6 cells a side; no weights."""
    pooled = [_resized(F.adaptive_avg_pool2d(maps, bins), maps.shape[2:]) for bins in (1, 2, 3, 6)]
    return maps + sum(pooled)


def _scaled(images: Tensor, divisor: int) -> Tensor:
    return _resized(images, [size // divisor for size in images.shape[2:]])


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)

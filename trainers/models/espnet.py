"""ESPNet (arXiv:1803.06815): efficient spatial pyramids of dilated convolutions, and a light decoder.

As published (p = 2, q = 8 is the papers' network), with three transposed convolutions in the decoder, the last of which
gives the logits at full resolution from maps of C channels. The features are therefore taken before the encoder's 1x1
classifier, the last one there is: 256 activated channels at stride 8, where most teachers have theirs.

The published training begins with the encoder alone, by the loss of that classifier (ESPNet-C). `aux` makes it an
auxiliary head instead, whose loss stands beside that of the decoder that reads it; it costs nothing.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from trainers.config import LATER
from trainers.models import Taps
from trainers.models.full_resolution import FullResolutionNetwork

EPS = 1e-3
"""Of every batch normalisation."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """ESPNet."""

    architecture: Literal["espnet"] = "espnet"
    p: Annotated[int, Ge(1)] = 2
    """ESP modules at stride 4 (alpha_2 in the paper)."""
    q: Annotated[int, Ge(1)] = 8
    """ESP modules at stride 8 (alpha_3 in the paper)."""
    aux: bool = field(default=False, metadata=LATER)
    """Whether the encoder's classifier is an auxiliary head."""


class Network(FullResolutionNetwork):
    """Taps: "logits" at stride 1, "features" and, where the config asks for it, "aux" at stride 8."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.channels = {"logits": num_classes, "features": 256}
        if config.aux:
            self.channels["aux"] = num_classes
        self.stem = nn.Sequential(_convolution(3, 16, 3, stride=2), BNPReLU(16))
        self.stem_out = BNPReLU(19)
        self.down2 = nn.Sequential(SpatialPyramid(19, 64, stride=2), BNPReLU(64))
        self.stage2 = nn.Sequential(*(ESPModule(64) for _ in range(config.p)))
        self.stage2_out = BNPReLU(131)
        self.down3 = nn.Sequential(SpatialPyramid(131, 128, stride=2), BNPReLU(128))
        self.stage3 = nn.Sequential(*(ESPModule(128) for _ in range(config.q)))
        self.stage3_out = BNPReLU(256)
        self.decoder = Decoder(num_classes)

    def decode(self, images: Tensor) -> Taps:
        """The image itself, averaged down, goes beside the maps of every stage but the last."""
        half = F.avg_pool2d(images, 3, stride=2, padding=1)
        quarter = F.avg_pool2d(half, 3, stride=2, padding=1)
        first = self.stem_out(torch.cat([self.stem(images), half], dim=1))
        reduced = self.down2(first)
        second = self.stage2_out(torch.cat([self.stage2(reduced), reduced, quarter], dim=1))
        reduced = self.down3(second)
        features = self.stage3_out(torch.cat([reduced, self.stage3(reduced)], dim=1))
        classes = self.decoder.classifier(features)
        taps = {"logits": self.decoder(first, second, classes), "features": features}
        return {**taps, "aux": classes} if "aux" in self.channels else taps


class Decoder(nn.Module):
    """From the encoder's maps at strides 2, 4 and 8 to logits at stride 1; all its maps have C channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(256, num_classes, 1, bias=False)
        self.norm = nn.BatchNorm2d(num_classes, eps=EPS)
        self.up3 = _doubled(num_classes)
        self.project2 = nn.Conv2d(131, num_classes, 1, bias=False)
        self.fuse2 = nn.Sequential(
            BNPReLU(2 * num_classes), SpatialPyramid(2 * num_classes, num_classes), BNPReLU(num_classes)
        )
        self.up2 = nn.Sequential(_doubled(num_classes), BNPReLU(num_classes))
        self.fuse1 = nn.Sequential(_convolution(19 + num_classes, num_classes, 3), BNPReLU(num_classes))
        self.up1 = _doubled(num_classes)

    def forward(self, first: Tensor, second: Tensor, classes: Tensor) -> Tensor:
        """Maps of 19 and 131 channels, and what `classifier` gives of the encoder's last, to logits."""
        third = self.up3(self.norm(classes))
        second = self.up2(self.fuse2(torch.cat([self.project2(second), third], dim=1)))
        logits: Tensor = self.up1(self.fuse1(torch.cat([second, first], dim=1)))
        return logits


class SpatialPyramid(nn.Module):
    """Reduce, five dilated 3x3 convolutions side by side, and their sums from the second on, against gridding.

    Each has a fifth of the channels, rounded down; the undilated one takes what is left.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        width = out_channels // 5
        self.reduce = _convolution(in_channels, width, 1 if stride == 1 else 3, stride=stride)
        self.plain = _convolution(width, out_channels - 4 * width, 3)
        self.dilated = nn.ModuleList(_convolution(width, width, 3, dilation=rate) for rate in (2, 4, 8, 16))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, out_channels, h / stride, w / stride]."""
        reduced = self.reduce(maps)
        views = [self.plain(reduced)]
        for position, dilated in enumerate(self.dilated):
            view = dilated(reduced)
            views.append(view + views[-1] if position else view)
        return torch.cat(views, dim=1)


class ESPModule(nn.Module):
    """A spatial pyramid with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pyramid = SpatialPyramid(channels, channels)
        self.out = BNPReLU(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        out: Tensor = self.out(maps + self.pyramid(maps))
        return out


class BNPReLU(nn.Sequential):
    """Batch normalisation and a PReLU with a slope per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels, eps=EPS), nn.PReLU(channels))


def _convolution(in_channels: int, out_channels: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(in_channels, out_channels, size, stride, padding, dilation, bias=False)


def _doubled(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)

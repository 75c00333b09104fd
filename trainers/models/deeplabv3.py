"""DeepLabV3 (arXiv:1706.05587) as the distillation papers build it (CIRKD, arXiv:2204.06986; RDD).

Unlike the paper's: no multi-grid, rates 12, 24 and 36 at output stride 8, a 3x3 convolution between
projection and classifier, and a head of 128 channels on small backbones. The features are the
output of that convolution after its ReLU and dropout.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn

from trainers.models.blocks import ConvBNReLU
from trainers.models.heads import EncoderDecoder, StridedConfig, auxiliary_head


@dataclass(frozen=True, kw_only=True)
class Config(StridedConfig):
    """DeepLabV3 on any backbone that `encoder.Encoder` builds.

    As published, the features have 256 channels on ResNet-50 and -101, else 128, and dropout rates are 0.5, 0.1 and, in
    the auxiliary head, 0.1.
    """

    architecture: Literal["deeplabv3"] = "deeplabv3"
    rates: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (12, 24, 36)
    """Dilations of the pyramid's 3x3 convolutions."""


class Network(EncoderDecoder):
    """Taps: "logits", "features" and, where the config asks for it, "aux"."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        encoder = config.encoder()
        channels = config.head_channels or (256 if encoder.wide else 128)
        head = nn.Sequential(
            AtrousPyramid(encoder.channels[1], channels, config.rates),
            nn.Dropout(0.5),
            ConvBNReLU(channels, channels, 3),
            nn.Dropout(0.1),
        )
        super().__init__(
            encoder,
            head,
            head_channels=channels,
            num_classes=num_classes,
            aux=auxiliary_head(encoder.channels[0], num_classes) if config.aux else None,
            dropout=config.dropout,
        )


class AtrousPyramid(nn.Module):
    """A 1x1 convolution, a 3x3 one per rate and the image's mean, side by side, joined by a 1x1."""

    def __init__(self, in_channels: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvBNReLU(in_channels, channels, 1),
                *(ConvBNReLU(in_channels, channels, 3, dilation=rate) for rate in rates),
            ]
        )
        self.image = ConvBNReLU(in_channels, channels, 1)
        self.project = ConvBNReLU((len(rates) + 2) * channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, channels, h, w]."""
        views = [branch(maps) for branch in self.branches]
        image = self.image(maps.mean(dim=(2, 3), keepdim=True))
        # Bilinear interpolation of one pixel, which the published code calls, is this constant.
        views.append(image.expand_as(views[0]))
        joined: Tensor = self.project(torch.cat(views, dim=1))
        return joined

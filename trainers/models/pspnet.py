"""PSPNet (arXiv:1612.01105) as the distillation papers build it (CIRKD, arXiv:2204.06986; RDD).

Unlike the paper's: 128 channels after the pyramid on small backbones, and bilinear interpolation
with aligned corners. The features are the output of the 3x3 convolution after the pyramid, after
its ReLU and dropout.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.models.blocks import ConvBN, ConvBNReLU
from trainers.models.heads import EncoderDecoder, StridedConfig, auxiliary_head


@dataclass(frozen=True, kw_only=True)
class Config(StridedConfig):
    """PSPNet on any backbone that `encoder.Encoder` builds.

    As published, the features have 512 channels on ResNet-50 and -101, else 128, and the dropout rate is 0.1, in the
    auxiliary head too.
    """

    architecture: Literal["pspnet"] = "pspnet"
    bins: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (1, 2, 3, 6)
    """Sides of the pyramid's pooled maps."""


class Network(EncoderDecoder):
    """Taps: "logits", "features" and, where the config asks for it, "aux"."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        encoder = config.encoder()
        channels = config.head_channels or (512 if encoder.wide else 128)
        pyramid = PoolingPyramid(encoder.channels[1], config.bins)
        head = nn.Sequential(pyramid, ConvBNReLU(pyramid.out_channels, channels, 3), nn.Dropout(0.1))
        super().__init__(
            encoder,
            head,
            head_channels=channels,
            num_classes=num_classes,
            aux=auxiliary_head(encoder.channels[0], num_classes) if config.aux else None,
            dropout=config.dropout,
        )


class PoolingPyramid(nn.Module):
    """The maps and their means over grids of bins by bins, each through a 1x1 convolution.

    Args:
        in_channels: of the maps.
        bins: sides of the grids.
        width: channels of each level; None gives all levels together as many as the maps have.
        block: the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        bins: tuple[int, ...],
        *,
        width: int | None = None,
        block: type[ConvBN] = ConvBNReLU,
    ) -> None:
        super().__init__()
        width = width or in_channels // len(bins)
        self.bins = bins
        self.levels = nn.ModuleList(block(in_channels, width, 1) for _ in bins)
        self.out_channels = in_channels + width * len(bins)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, out_channels, h, w]."""
        pooled = [level(F.adaptive_avg_pool2d(maps, bins)) for bins, level in zip(self.bins, self.levels, strict=True)]
        size = maps.shape[2:]
        upsampled = [F.interpolate(level, size=size, mode="bilinear", align_corners=True) for level in pooled]
        return torch.cat([maps, *upsampled], dim=1)

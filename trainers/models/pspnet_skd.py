"""PSPNet (arXiv:1612.01105) as SKD, IFVD and TorchDistiller build it; the networks of the IDD paper.

It differs from `pspnet`, CIRKD's and RDD's, in the encoder (`FullyDilatedEncoder`: a max-pool that rounds up, dilation
in the first blocks too), in normalisation with leaky ReLU in the heads (InPlaceABN in published code, here BatchNorm2d
and LeakyReLU: the same parameters and values), in dropout of whole channels, and in an auxiliary head as wide as the
features, whose 3x3 convolution has a bias. The features are the output of the 3x3 convolution after the pyramid, after
its activation and dropout.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, MinLen
from torch import nn

from trainers.models.blocks import ConvBNLeaky
from trainers.models.encoder import FullyDilatedEncoder
from trainers.models.heads import EncoderDecoder, EncoderDecoderConfig, deep_supervision
from trainers.models.pspnet import PoolingPyramid


@dataclass(frozen=True, kw_only=True)
class Config(EncoderDecoderConfig):
    """The papers' networks: resnet101 (teacher), resnet18, and resnet18 at width 0.5.

    The backbone is a deep-stem ResNet: resnet18, resnet34, resnet50 or resnet101. `width` scales the heads too where
    `head_channels` is None. The published dropout rate is 0.1.
    """

    architecture: Literal["pspnet_skd"] = "pspnet_skd"
    head_channels: Annotated[int, Gt(0)] | None = None
    """Channels of the features, of each level of the pyramid and inside the auxiliary head; None is as published: a
    quarter of the last stage's, which is 512 on ResNet-50 and -101, 128 on ResNet-18, and 64 on that at half width."""
    bins: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (1, 2, 3, 6)
    """Sides of the pyramid's pooled maps."""


class Network(EncoderDecoder):
    """Taps at stride 8: "logits", "features" and, where the config asks for it, "aux"."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        encoder = FullyDilatedEncoder(config.backbone, weights=config.weights, width=config.width)
        before_last, last = encoder.channels
        channels = config.head_channels or last // 4
        pyramid = PoolingPyramid(last, config.bins, width=channels, block=ConvBNLeaky)
        super().__init__(
            encoder,
            nn.Sequential(pyramid, ConvBNLeaky(pyramid.out_channels, channels, 3), nn.Dropout2d(0.1)),
            head_channels=channels,
            num_classes=num_classes,
            aux=deep_supervision(before_last, channels, num_classes, block=ConvBNLeaky, dropout=0.1)
            if config.aux
            else None,
            dropout=config.dropout,
        )

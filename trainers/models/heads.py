"""What stands on an encoder: the network that joins it to a head, and the auxiliary head."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor, nn

from trainers.models import SegmentationNetwork, Taps
from trainers.models.blocks import ConvBN, ConvBNReLU, turn_off_dropout
from trainers.models.encoder import BackboneConfig, Encoder


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(BackboneConfig):
    """Base of the `Config` of an `EncoderDecoder`."""

    width: Annotated[float, Gt(0)] = 1.0
    """Factor of all channels of a deep-stem ResNet backbone."""
    aux: bool = True
    """Whether there is an auxiliary head."""
    dropout: bool = True
    """False turns off all dropout, the auxiliary head's too."""


@dataclass(frozen=True, kw_only=True)
class StridedConfig(EncoderDecoderConfig):
    """Base of the `Config` of an `EncoderDecoder` whose output stride can be chosen."""

    output_stride: Literal[8, 16, 32] = 8
    """Of the last stage; a backbone that timm cannot dilate keeps its own, with a warning."""
    head_channels: Annotated[int, Gt(0)] | None = None
    """Channels of the features; None is as published."""

    def encoder(self) -> Encoder:
        """The backbone.

        Raises:
            ValueError: as `Encoder` does.
        """
        return Encoder(self.backbone, output_stride=self.output_stride, weights=self.weights, width=self.width)


class EncoderDecoder(SegmentationNetwork):
    """Encoder, head and 1x1 classifier; where there is one, an auxiliary head on the stage before the last.

    The auxiliary head's logits are as large as its stage: twice the other taps at output stride 32.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        head_channels: int,
        num_classes: int,
        aux: nn.Module | None,
        dropout: bool,
    ) -> None:
        """Join the parts and initialise the heads.

        Args:
            encoder: the backbone.
            head: from the last stage to the features; initialised here.
            head_channels: channels of the features.
            num_classes: channels of the logits.
            aux: from the stage before the last to logits, or None; initialised here.
            dropout: whether dropout layers keep their rates; without, they stay, at rate 0.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.classifier = nn.Conv2d(head_channels, num_classes, 1)
        self.aux = aux
        self.channels = {"logits": num_classes, "features": head_channels}
        if aux is not None:
            self.channels["aux"] = num_classes
        for name, part in self.named_modules():
            if isinstance(part, nn.Conv2d) and not name.startswith("encoder."):
                _initialise(part)
        if not dropout:
            turn_off_dropout(self)

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to "logits", "features" and, with the auxiliary head, "aux"."""
        return self.taps_of(images, self.channels)

    def taps_of(self, images: Tensor, wanted: Collection[str]) -> Taps:
        """As `forward`, but the auxiliary head runs only where "aux" is wanted."""
        before_last, last = self.encoder(images)
        features = self.head(last)
        taps = {"logits": self.classifier(features), "features": features}
        if self.aux is not None and "aux" in wanted:
            taps["aux"] = self.aux(before_last)
        return taps


def auxiliary_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """That of PSPNet (arXiv:1612.01105, section 4) with the layers of CIRKD's and RDD's code.

    3x3 to a quarter of the channels, dropout 0.1, 1x1. Published MobileNet students have none.
    """
    width = in_channels // 4
    return nn.Sequential(ConvBNReLU(in_channels, width, 3), nn.Dropout(0.1), nn.Conv2d(width, num_classes, 1))


def deep_supervision(
    in_channels: int, channels: int, num_classes: int, *, block: type[ConvBN], dropout: float
) -> nn.Sequential:
    """The auxiliary head of SKD's and OCNet's code: 3x3 with a bias to the features' channels, dropout, 1x1."""
    return nn.Sequential(
        block(in_channels, channels, 3, bias=True), nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1)
    )


def _initialise(convolution: nn.Conv2d) -> None:
    """Kaiming normal by fan-in, biases 0; batch normalisation starts at weight 1 and bias 0 as is.

    By fan-in, because a classifier narrows from hundreds of channels to a few classes: by fan-out
    the first logits would spread over several units.
    """
    nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)

"""ERFNet (Romera et al., IEEE T-ITS 2018): residual blocks of factorised convolutions, and a light decoder.

As published, with biases before normalisation. The logits are at full resolution. The features are the encoder's
output, 128 activated channels at stride 8, before the 1x1 classifier that the paper trains the encoder with before it
adds the decoder. That classifier counts among the published 2,066,642 parameters but not among the operations, because
the whole network does not run it; here it is the auxiliary head, run in training mode alone.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models import Taps
from trainers.models.blocks import turn_off_dropout
from trainers.models.full_resolution import FullResolutionNetwork

EPS = 1e-3
"""Of every batch normalisation."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """ERFNet."""

    architecture: Literal["erfnet"] = "erfnet"
    dropout: bool = True
    """False turns off all dropout; published rates are 0.03 at stride 4 and 0.3 at stride 8 of the encoder."""


class Network(FullResolutionNetwork):
    """Taps: "logits" at stride 1, "features" at stride 8 and, in training mode, "aux" at stride 8."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            Downsampler(3, 16),
            Downsampler(16, 64),
            *(FactorisedBlock(64, dropout=0.03) for _ in range(5)),
            Downsampler(64, 128),
            *(FactorisedBlock(128, dropout=0.3, dilation=rate) for rate in 2 * (2, 4, 8, 16)),
        )
        self.aux = nn.Conv2d(128, num_classes, 1)
        self.decoder = nn.Sequential(
            *_upsampler(128, 64),
            *(FactorisedBlock(64) for _ in range(2)),
            *_upsampler(64, 16),
            *(FactorisedBlock(16) for _ in range(2)),
            nn.ConvTranspose2d(16, num_classes, 2, stride=2),
        )
        self.num_classes = num_classes
        self.train()
        if not config.dropout:
            turn_off_dropout(self)

    def train(self, mode: bool = True) -> "Network":
        """Training mode has the tap "aux", evaluation mode has not, and `channels` says so."""
        aux = {"aux": self.num_classes} if mode else {}
        self.channels = {"logits": self.num_classes, "features": 128} | aux
        return super().train(mode)

    def decode(self, images: Tensor) -> Taps:
        """The taps of images whose sides are multiples of 8."""
        features = self.encoder(images)
        taps = {"logits": self.decoder(features), "features": features}
        if self.training:
            taps["aux"] = self.aux(features)
        return taps


class FactorisedBlock(nn.Module):
    """Two 3x3 convolutions, each as 3x1 and 1x3, the second pair dilated, beside a shortcut."""

    def __init__(self, channels: int, *, dropout: float = 0.0, dilation: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_factorised(channels, dilation=1),
            nn.ReLU(),
            *_factorised(channels, dilation=dilation),
            nn.Dropout2d(dropout),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        return F.relu(maps + self.branch(maps))


class Downsampler(nn.Module):
    """A 3x3 convolution of stride 2 beside the maximum of the maps over 2x2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, out_channels, h / 2, w / 2]."""
        return F.relu(self.norm(torch.cat([self.convolution(maps), F.max_pool2d(maps, 2)], dim=1)))


def _factorised(channels: int, *, dilation: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
        nn.BatchNorm2d(channels, eps=EPS),
    ]


def _upsampler(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(out_channels, eps=EPS),
        nn.ReLU(),
    ]

"""ENet (arXiv:1606.02147), as davidtvs/PyTorch-ENet builds it, whose operation count the papers' tables have.

Bottlenecks with PReLUs (of one slope each, not one per channel) in the encoder and ReLUs in the decoder, which unpools
with the indices of the encoder's pooling; no bias anywhere. It has 351,660 parameters for 19 classes; the 0.358 M that
the literature quotes are not reproduced by any public network that we know. Operations agree: 3.612 G. The logits are
at full resolution. The features are the encoder's output, before which the paper's first stage of training puts a 1x1
classifier: 128 activated channels at stride 8.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models import Taps
from trainers.models.blocks import ConvBN, ConvBNReLU, turn_off_dropout
from trainers.models.full_resolution import FullResolutionNetwork

DROPOUT = 0.1
"""Of whole channels, in every block but those at stride 4 of the encoder."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """ENet."""

    architecture: Literal["enet"] = "enet"
    dropout: bool = True
    """False turns off all dropout; published rates are 0.01 at stride 4 of the encoder and 0.1 after that."""


class Network(FullResolutionNetwork):
    """Taps: "logits" at stride 1, "features" at stride 8."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.channels = {"logits": num_classes, "features": 128}
        self.initial = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.initial_out = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())
        self.down1 = DownBottleneck(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, _plain(16), dropout=0.01) for _ in range(4)))
        self.down2 = DownBottleneck(64, 128)
        self.stage2 = nn.Sequential(*_encoder_stage(), *_encoder_stage())
        self.up2 = UpBottleneck(128, 64)
        self.refine2 = nn.Sequential(_decoder_block(64), _decoder_block(64))
        self.up1 = UpBottleneck(64, 16)
        self.refine1 = _decoder_block(16)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 3, stride=2, padding=1, output_padding=1, bias=False)
        if not config.dropout:
            turn_off_dropout(self)

    def decode(self, images: Tensor) -> Taps:
        """The taps of images whose sides are multiples of 8."""
        pooled = F.max_pool2d(images, 3, stride=2, padding=1)
        maps = self.initial_out(torch.cat([self.initial(images), pooled], dim=1))
        maps, indices1 = self.down1(maps)
        maps, indices2 = self.down2(self.stage1(maps))
        features = self.stage2(maps)
        maps = self.refine2(self.up2(features, indices2))
        maps = self.refine1(self.up1(maps, indices1))
        return {"logits": self.classifier(maps), "features": features}


class Bottleneck(nn.Module):
    """Narrow to a quarter, `middle`, widen, beside a shortcut."""

    def __init__(
        self, channels: int, middle: nn.Module, *, activation: type[nn.Module] = nn.PReLU, dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.branch = nn.Sequential(
            ConvBN(channels, inner, 1, activation=activation()),
            middle,
            ConvBN(inner, channels, 1, activation=activation()),
            nn.Dropout2d(dropout),
        )
        self.out = activation()

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        out: Tensor = self.out(maps + self.branch(maps))
        return out


class DownBottleneck(nn.Module):
    """Max-pooling, filled up with channels of zeros, beside a branch that starts with a 2x2 convolution of stride 2."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float = DROPOUT) -> None:
        super().__init__()
        inner = in_channels // 4
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, inner, 2, stride=2, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(),
            ConvBN(inner, inner, 3, activation=nn.PReLU()),
            ConvBN(inner, out_channels, 1, activation=nn.PReLU()),
            nn.Dropout2d(dropout),
        )
        self.out = nn.PReLU()

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """[B, in_channels, h, w] to [B, out_channels, h / 2, w / 2], and the indices of the maxima."""
        pooled, indices = F.max_pool2d(maps, 2, return_indices=True)
        branch = self.branch(maps)
        filled = F.pad(pooled, (0, 0, 0, 0, 0, branch.shape[1] - pooled.shape[1]))
        return self.out(filled + branch), indices


class UpBottleneck(nn.Module):
    """Max-unpooling beside a branch with a transposed 2x2 convolution of stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = in_channels // 4
        self.shortcut = ConvBN(in_channels, out_channels, 1)
        self.branch = nn.Sequential(
            ConvBN(in_channels, inner, 1, activation=nn.ReLU()),
            nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            ConvBN(inner, out_channels, 1),
            nn.Dropout2d(DROPOUT),
        )

    def forward(self, maps: Tensor, indices: Tensor) -> Tensor:
        """[B, in_channels, h, w] and the indices of a pooling to [B, out_channels, 2 h, 2 w]."""
        return F.relu(F.max_unpool2d(self.shortcut(maps), indices, [2, 2]) + self.branch(maps))


def _encoder_stage() -> list[Bottleneck]:
    """The eight blocks of a stage at stride 8."""
    middles = [_plain(32), _plain(32, 2), _asymmetric(32), _plain(32, 4)]
    middles += [_plain(32), _plain(32, 8), _asymmetric(32), _plain(32, 16)]
    return [Bottleneck(128, middle) for middle in middles]


def _plain(channels: int, dilation: int = 1) -> nn.Module:
    return ConvBN(channels, channels, 3, dilation=dilation, activation=nn.PReLU())


def _asymmetric(channels: int) -> nn.Module:
    """A 5x1 and a 1x5 convolution."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), bias=False),
        nn.BatchNorm2d(channels),
        nn.PReLU(),
        nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False),
        nn.BatchNorm2d(channels),
        nn.PReLU(),
    )


def _decoder_block(channels: int) -> Bottleneck:
    inner = channels // 4
    return Bottleneck(channels, ConvBNReLU(inner, inner, 3), activation=nn.ReLU)

"""FCN-8s (arXiv:1411.4038) on VGG-16, as wkentaro/pytorch-fcn builds it after the authors' own.

The image is filled up by 100 pixels a side, so that the 7x7 convolution on stride 32 needs no padding, and what is too
much is cut away after each fusion. The logits are at full resolution, through transposed convolutions that start as
bilinear interpolation. The features are the 4,096 activated channels before the score, at stride 32, cut to
ceil(H / 32) rows: their pixel i lies at 32 i + 12.5 of the image. The score layers start random, where the published
ones start at 0.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from trainers.models import SegmentationNetwork, Taps
from trainers.models.blocks import turn_off_dropout
from trainers.models.encoder import create, fill_from_file, has_values

MARGIN = 100
WIDE = 4096


@dataclass(frozen=True, kw_only=True)
class Config:
    """FCN-8s."""

    architecture: Literal["fcn8s"] = "fcn8s"
    weights: str = field(default="none", metadata={"path": True})
    """Of timm's vgg16, its two wide layers included: "none", "timm" (ImageNet) or the path of a state-dict file."""
    wide_channels: Annotated[int, Gt(0)] = WIDE
    """Channels of the 7x7 convolution, the first of the two wide layers; published weights need 4096."""
    dropout: bool = True
    """False turns off all dropout; the published rate is 0.5."""


class Network(SegmentationNetwork):
    """Taps: "logits" at stride 1, "features" at stride 32."""

    def __init__(self, config: Config, *, num_classes: int) -> None:
        super().__init__()
        self.vgg: Any = _vgg16(config.weights, config.wide_channels)
        self.dropout = nn.Dropout2d(0.5)
        self.score = nn.Conv2d(WIDE, num_classes, 1)
        self.score4 = nn.Conv2d(512, num_classes, 1)
        self.score3 = nn.Conv2d(256, num_classes, 1)
        self.up5 = _bilinear(num_classes, stride=2)
        self.up4 = _bilinear(num_classes, stride=2)
        self.up3 = _bilinear(num_classes, stride=8)
        self.channels = {"logits": num_classes, "features": WIDE}
        if not config.dropout:
            turn_off_dropout(self)

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps; "logits" are [B, C, H, W]."""
        third, fourth, fifth = self._pools(images)
        wide = self.vgg.pre_logits
        features = self.dropout(wide.act2(wide.fc2(self.dropout(wide.act1(wide.fc1(fifth))))))
        fused = self.up5(self.score(features))
        fused = self.up4(fused + _cut(self.score4(fourth), 5, fused.shape[2:]))
        fused = self.up3(fused + _cut(self.score3(third), 9, fused.shape[2:]))
        rows = [-(-size // 32) for size in images.shape[2:]]
        return {"logits": _cut(fused, 31, images.shape[2:]), "features": _cut(features, 0, rows)}

    def _pools(self, maps: Tensor) -> list[Tensor]:
        """The last three max-pools: strides 8, 16 and 32."""
        pools = []
        for layer in self.vgg.features:
            maps = layer(maps)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(maps)
        return pools[-3:]


def _vgg16(weights: str, wide_channels: int) -> Any:
    if weights == "timm" and wide_channels != WIDE:
        raise ValueError(
            f"weights='timm' fits {WIDE} channels alone, but got wide_channels={wide_channels}; "
            "leave out one of the two"
        )
    pretrained = weights == "timm" and has_values()
    vgg = create("vgg16", num_classes=0, mlp_ratio=wide_channels / WIDE, pretrained=pretrained)
    fill_from_file(vgg, weights, backbone="vgg16")
    for layer in vgg.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
    vgg.features[0].padding = (MARGIN, MARGIN)
    return vgg


def _bilinear(channels: int, *, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution over 2 * stride pixels, each channel by itself at first."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * stride, stride=stride, bias=False)
    position = (torch.arange(2 * stride) - (2 * stride - 1) / 2).abs()
    triangle = 1 - position / stride
    kernel = triangle[:, None] * triangle[None, :]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * kernel)
    return layer


def _cut(maps: Tensor, offset: int, size: torch.Size | list[int]) -> Tensor:
    return maps[:, :, offset : offset + size[0], offset : offset + size[1]]

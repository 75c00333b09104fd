"""Networks: one file per architecture, with a `Config` and a `Network`; what they share is here.

A network takes normalised images [B, 3, H, W] and returns its taps by name: "logits" [B, C, h, w]
at output stride, never upsampled; "aux" [B, C, h', w'], the auxiliary head's logits, where the
network has that head; "features" [B, D, h, w], the activated map just before the last 1x1
classifier.
"""

import re
from typing import Any

import yaml
from torch import Tensor, nn

from trainers import registry
from trainers.config import parse

Taps = dict[str, Tensor]


class SegmentationNetwork(nn.Module):
    """What every architecture's `Network` is: images in, taps out."""

    channels: dict[str, int]
    """Channels of every tap that `forward` returns, by name."""

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps [B, channels[name], h, w]."""
        raise NotImplementedError


def build(config: object, *, num_classes: int) -> SegmentationNetwork:
    """The `Network` that stands beside the class of `config`."""
    module = registry.module_of(config)
    network: SegmentationNetwork = module.Network(config, num_classes=num_classes)
    return network


def named(text: str) -> Any:
    """The configuration that a name stands for.

    Args:
        text: `architecture`, `architecture(backbone)` or `architecture(backbone, field=value, ...)`, such as
            `deeplabv3(resnet101)` or `pspnet(mobilenetv2_100, aux=False)`.

    Raises:
        ValueError: not such a name, an unknown architecture, or a field that its `Config` does not take.
    """
    match = re.fullmatch(r"(\w+)(?:\((.+)\))?", text.strip())
    if match is None:
        raise ValueError(
            f"a network is named as in deeplabv3(resnet101) or pspnet(resnet18, aux=False), but got {text!r}"
        )
    architecture, inside = match.groups()
    module = registry.implementation("trainers.models", architecture)
    values: dict[str, Any] = {}
    for part in re.split(r",(?![^\[]*\])", inside or ""):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals:
            values[key] = yaml.safe_load(value)
        elif key:
            values["backbone"] = key
    return parse(module.Config, values)

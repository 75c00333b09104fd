"""Networks: one file per architecture, with a `Config` and a `Network`; what they share is here.

A network takes normalised images [B, 3, H, W] and returns its taps by name: "logits" [B, C, h, w]
as its decoder ends, never upsampled to the image; "features" [B, D, h', w'], the activated map just
before the last 1x1 classifier; and, where the network has such heads, the taps of AUXILIARY. The
sizes of all taps are the image's over their strides, rounded up; each architecture's file says what
these are.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from trainers import registry
from trainers.models.naming import named

__all__ = ["AUXILIARY", "SegmentationNetwork", "Taps", "build", "named", "without_weights"]

Taps = dict[str, Tensor]

AUXILIARY = ("aux", "aux_low")
"""Taps of auxiliary heads: logits [B, C, h, w], of an inner stage; the second is ICNet's, which has two."""


class SegmentationNetwork(nn.Module):
    """What every architecture's `Network` is: images in, taps out."""

    channels: dict[str, int]
    """Channels of every tap that `forward` returns, by name."""
    why_one_size: str | None = None
    """Why an ONNX file of it takes images of one size alone; None where it takes any."""

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps [B, channels[name], h, w]."""
        raise NotImplementedError

    def taps_of(self, images: Tensor, wanted: Collection[str]) -> Taps:
        """Those of the taps of `forward` that are wanted, with the same bits, and perhaps others.

        A network overrides this to leave out a head that is not wanted.
        """
        return self(images)  # type: ignore[no-any-return]


def build(config: object, *, num_classes: int, initial_weights: bool = True) -> SegmentationNetwork:
    """The `Network` that stands beside the class of `config`.

    Args:
        config: of one of the architectures.
        num_classes: channels of the logits.
        initial_weights: False leaves out the ones that `config` names, for a network that gets others or none: so a
            trained one can be read where the file that its training began with is not.
    """
    module = registry.module_of(config)
    config = config if initial_weights else without_weights(config)
    network: SegmentationNetwork = module.Network(config, num_classes=num_classes)
    return network


def without_weights(config: Any) -> Any:
    """The config of the same network from scratch."""
    return dataclasses.replace(config, weights="none") if hasattr(config, "weights") else config

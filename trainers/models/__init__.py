"""Networks: one file per architecture, with a `Config` and a `Network`; what they share is here.

A network takes normalised images [B, 3, H, W] and returns its taps by name: "logits" [B, C, h, w]
as its decoder ends, never upsampled to the image; "features" [B, D, h', w'], the activated map just
before the last 1x1 classifier; and, where the network has such heads, the taps of AUXILIARY. The
sizes of all taps are the image's over their strides, rounded up; each architecture's file says what
these are.
"""

from collections.abc import Collection

from torch import Tensor, nn

from trainers import registry
from trainers.models.naming import named

__all__ = ["AUXILIARY", "SegmentationNetwork", "Taps", "build", "named"]

Taps = dict[str, Tensor]

AUXILIARY = ("aux", "aux_low")
"""Taps of auxiliary heads: logits [B, C, h, w], of an inner stage; the second is ICNet's, which has two."""


class SegmentationNetwork(nn.Module):
    """What every architecture's `Network` is: images in, taps out."""

    channels: dict[str, int]
    """Channels of every tap that `forward` returns, by name."""

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps [B, channels[name], h, w]."""
        raise NotImplementedError

    def taps_of(self, images: Tensor, wanted: Collection[str]) -> Taps:
        """Those of the taps of `forward` that are wanted, with the same bits, and perhaps others.

        A network overrides this to leave out a head that is not wanted.
        """
        return self(images)  # type: ignore[no-any-return]


def build(config: object, *, num_classes: int) -> SegmentationNetwork:
    """The `Network` that stands beside the class of `config`."""
    module = registry.module_of(config)
    network: SegmentationNetwork = module.Network(config, num_classes=num_classes)
    return network

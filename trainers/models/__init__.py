"""Networks: one file per architecture, with a `Config` and a `Network`; what they share is here.

A network takes normalised images [B, 3, H, W] and returns its taps by name: "logits" [B, C, h, w]
at output stride, never upsampled; "aux" [B, C, h', w'], the auxiliary head's logits, where the
network has that head; "features" [B, D, h, w], the activated map just before the last 1x1
classifier.
"""

from torch import Tensor, nn

from trainers import registry

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

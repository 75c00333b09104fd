"""Networks whose own decoder ends at the resolution of the image: ESPNet, ENet, ERFNet."""

import torch.nn.functional as F
from torch import Tensor

from trainers.models import SegmentationNetwork, Taps

MULTIPLE = 8
"""Of what their decoders, which double the size three times, can give back."""


class FullResolutionNetwork(SegmentationNetwork):
    """Takes images of any size: zeros to the right and below fill them up, and the taps are cut to match.

    The published networks take multiples of 8 only, for which this changes nothing.
    """

    def forward(self, images: Tensor) -> Taps:
        """Images [B, 3, H, W] to taps; "logits" are [B, C, H, W], a tap of stride s has ceil(H / s) rows."""
        height, width = images.shape[2:]
        filled = F.pad(images, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        taps = self.decode(filled)
        return {name: _cut(tap, filled.shape[2] // tap.shape[2], height, width) for name, tap in taps.items()}

    def decode(self, images: Tensor) -> Taps:
        """The taps of images whose sides are multiples of 8."""
        raise NotImplementedError


def _cut(tap: Tensor, stride: int, height: int, width: int) -> Tensor:
    return tap[:, :, : -(-height // stride), : -(-width // stride)]

"""What a network costs: its parameters, its multiply-accumulates (MACs) in three ways of counting.

The counts build and run the network on the meta device, so that they take a second whatever the image's size and
allocate nothing. The papers call MACs "FLOPs". Every count includes the auxiliary head, where the network has one,
as the papers' figures do, although only training needs it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainers import models
from trainers.models import SegmentationNetwork

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Macs:
    """Multiply-accumulates of one forward of one image.

    Attributes:
        dilation_blind: of Conv2d and Linear without biases, each convolution counted on the output that it would have
            without dilation. CIRKD and RDD count so: with padding = dilation that is 2 * (dilation - 1) rows and
            columns too many for every dilated 3x3 convolution.
        convolutions: of Conv2d, half a MAC for every bias added, transposed convolutions left out. The tables of
            SKD, IFVD and IDD count so.
        exact: of all convolutions, transposed ones too, and matrix products, as torch.utils.flop_counter sees them.
    """

    dilation_blind: int
    convolutions: float
    exact: int


def parameters(config: object, *, num_classes: int) -> int:
    """Number of parameters, the auxiliary head's included; running statistics are none."""
    return sum(parameter.numel() for parameter in _on_meta(config, num_classes).parameters())


def macs(config: object, *, size: Size, num_classes: int) -> Macs:
    """Count the multiply-accumulates of one image of `size` (height, width)."""
    network = _on_meta(config, num_classes)
    blind: list[int] = []
    convolutions: list[float] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            blind.append(_dilation_blind(layer, given[0]))
            convolutions.append(_with_biases(layer, output))
        elif isinstance(layer, nn.Linear):
            blind.append(output.numel() * given[0].shape[-1])

    for layer in network.modules():
        layer.register_forward_hook(count)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.empty(1, 3, *size, device="meta"))
    return Macs(
        dilation_blind=sum(blind),
        convolutions=sum(convolutions),
        exact=counter.get_total_flops() // 2,
    )


def _dilation_blind(layer: nn.Conv2d, images: Tensor) -> int:
    assert isinstance(layer.padding, tuple)  # no network here pads by name
    sides = zip(images.shape[-2:], layer.padding, layer.kernel_size, layer.stride, strict=True)
    height, width = [(side + 2 * pad - kernel) // stride + 1 for side, pad, kernel, stride in sides]
    return layer.weight.numel() * height * width


def _with_biases(layer: nn.Conv2d, output: Tensor) -> float:
    biases = 0 if layer.bias is None else output.numel()
    return layer.weight.numel() * output.shape[-2] * output.shape[-1] + biases / 2


def _on_meta(config: Any, num_classes: int) -> SegmentationNetwork:
    with torch.device("meta"):
        return models.build(config, num_classes=num_classes, initial_weights=False).eval()

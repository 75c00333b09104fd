"""Layers that several architectures are made of, and the switch for their dropout."""

from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


class ConvBN(nn.Sequential):
    """Convolution, batch normalisation and, where one is given, an activation.

    Padding keeps the size at stride 1 and gives ceil(size / stride) otherwise. There is no bias unless `bias` asks for
    the one that some published code has before the normalisation, where it does nothing but count.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        eps: float = 1e-5,
        activation: nn.Module | None = None,
    ) -> None:
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "bias": bias}
        options["padding"] = dilation * (kernel_size // 2)
        layers = [
            nn.Conv2d(in_channels, out_channels, kernel_size, **options),
            nn.BatchNorm2d(out_channels, eps=eps),
        ]
        super().__init__(*layers, *([activation] if activation else []))


class ConvBNReLU(ConvBN):
    """ConvBN and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, kernel_size, activation=nn.ReLU(inplace=True), **options)


class ConvBNLeaky(ConvBN):
    """ConvBN and leaky ReLU of slope 0.01: the InPlaceABN of published code, which trades memory for a custom kernel.

    InPlaceABN takes the absolute value of its weight; where that stays positive, both compute the same.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> None:
        activation = nn.LeakyReLU(0.01, inplace=True)
        super().__init__(in_channels, out_channels, kernel_size, activation=activation, **options)


def turn_off_dropout(network: nn.Module) -> None:
    """Set the rate of every dropout layer to 0; the layers stay, so that names of weights do too."""
    for part in network.modules():
        if isinstance(part, _DropoutNd):
            part.p = 0.0

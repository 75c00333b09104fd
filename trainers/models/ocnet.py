"""OCNet (arXiv:1809.00916), the pyramid-OC variant with deep supervision, as its authors published it.

Self-attention inside the cells of grids of 1x1, 2x2, 3x3 and 6x6, beside the features themselves. Deviations:
InPlaceABN is BatchNorm2d and LeakyReLU (the same parameters and values), attention is PyTorch's fused one, and the
projection after it starts random like the other convolutions, where the published one starts at 0. The features are the
map before the classifier, after its activation and dropout.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt, MinLen
from torch import Tensor, nn

from trainers.models.blocks import ConvBN, ConvBNLeaky
from trainers.models.encoder import FullyDilatedEncoder
from trainers.models.heads import EncoderDecoder, EncoderDecoderConfig, deep_supervision


@dataclass(frozen=True, kw_only=True)
class Config(EncoderDecoderConfig):
    """OCNet; the papers' tables have it on resnet101. The published dropout rate is 0.05."""

    architecture: Literal["ocnet"] = "ocnet"
    backbone: str = "resnet101"
    """A deep-stem ResNet: resnet18, resnet34, resnet50 or resnet101."""
    head_channels: Annotated[int, Gt(1)] = 512
    """Channels of the features, of the context and inside the auxiliary head."""
    cells: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (1, 2, 3, 6)
    """Cells a side of the grids, one attention each."""


class Network(EncoderDecoder):
    """Taps at stride 8: "logits", "features" and, where the config asks for it, "aux"."""

    why_one_size = "PyTorch does not get done with its cells of unknown size within minutes"

    def __init__(self, config: Config, *, num_classes: int) -> None:
        encoder = FullyDilatedEncoder(config.backbone, weights=config.weights, width=config.width)
        before_last, last = encoder.channels
        channels = config.head_channels
        super().__init__(
            encoder,
            nn.Sequential(ConvBN(last, channels, 3, bias=True), PyramidContext(channels, config.cells)),
            head_channels=channels,
            num_classes=num_classes,
            aux=deep_supervision(before_last, channels, num_classes, block=ConvBN, dropout=0.05)
            if config.aux
            else None,
            dropout=config.dropout,
        )


class PyramidContext(nn.Module):
    """The maps, widened, beside one attention per grid, joined by a 1x1 convolution."""

    def __init__(self, channels: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        self.contexts = nn.ModuleList(CellAttention(channels, cells=side) for side in cells)
        self.widen = ConvBNLeaky(channels, len(cells) * channels, 1, bias=True)
        self.join = ConvBNLeaky(2 * len(cells) * channels, channels, 1, bias=True)
        self.dropout = nn.Dropout2d(0.05)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        views = [self.widen(maps), *(context(maps) for context in self.contexts)]
        joined: Tensor = self.dropout(self.join(torch.cat(views, dim=1)))
        return joined


class CellAttention(nn.Module):
    """Self-attention of the pixels of each cell of a grid.

    Keys and queries come from the same convolution. It runs twice, as published: that is in the published operation
    count. Cells are as high and wide as `size // cells`; the last row and column take what is left.
    """

    def __init__(self, channels: int, *, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.key = ConvBNLeaky(channels, channels // 2, 1, bias=True)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] to the same shape."""
        grids = [self._split(part, dim=2) for part in (self.key(maps), self.key(maps), self.value(maps))]
        rows = [self._attend_row(*row) for row in zip(*grids, strict=True)]
        projected: Tensor = self.project(torch.cat(rows, dim=2))
        return projected

    def _attend_row(self, *row: Tensor) -> Tensor:
        cells = zip(*(self._split(part, dim=3) for part in row), strict=True)
        return torch.cat([_attend(*cell) for cell in cells], dim=3)

    def _split(self, maps: Tensor, dim: int) -> tuple[Tensor, ...]:
        step = maps.shape[dim] // self.cells
        return maps.tensor_split([step * cell for cell in range(1, self.cells)], dim=dim)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(query key^T / sqrt(channels of the key)) value over the pixels of one cell."""
    queries, keys, values = (maps.flatten(2).transpose(1, 2) for maps in (query, key, value))
    return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(value.shape)

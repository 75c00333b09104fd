"""How a tap lies in memory, and its way to and from a sequence of bytes.

The same values in another memory format can make an operation add them up in another order. So a tap that is read
again has the strides of the one that was computed, channels_last or the gaps of a slice included.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Shape, strides and type of a tensor.

    Attributes:
        shape: of the tensor.
        stride: elements from one index to the next, by dimension.
        dtype: of PyTorch, without "torch.".
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Of a tensor; of its contiguous copy where elements share memory, as those of an expanded one do."""
        layout = cls(shape=tuple(tensor.shape), stride=tensor.stride(), dtype=str(tensor.dtype).removeprefix("torch."))
        return layout if layout._extent >= layout.elements else cls.of(tensor.contiguous())

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From its fields, as JSON gives them.

        Raises:
            KeyError, TypeError, ValueError: they are no layout's.
        """
        shape, stride = (tuple(int(size) for size in values[name]) for name in ("shape", "stride"))
        if len(shape) != len(stride) or min(shape, default=1) < 1 or min(stride, default=0) < 0:
            raise ValueError(f"a layout must have a size and a stride per dimension, but got {shape} and {stride}")
        return cls(shape=shape, stride=stride, dtype=str(values["dtype"]))

    @property
    def type(self) -> torch.dtype:
        """The type as PyTorch's.

        Raises:
            ValueError: there is no such type.
        """
        found = getattr(torch, self.dtype, None)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"a tap must be of a type that PyTorch has, but got {self.dtype!r}")
        return found

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of the values alone, without the gaps of a slice."""
        return self.elements * self.type.itemsize

    def packed(self, tensor: Tensor) -> Tensor:
        """The values of a tensor of this layout in the order in which they lie, [elements]; a view where possible."""
        return tensor.permute(self._order).reshape(-1)

    def unpacked(self, values: Tensor) -> Tensor:
        """A tensor of this layout from the values [elements] in that order; a view where they lie without gaps."""
        if self._extent == self.elements:
            return values.as_strided(self.shape, self.stride)
        gaps = torch.empty_strided(self.shape, self.stride, dtype=values.dtype, device=values.device)
        ordered = values.view([self.shape[dimension] for dimension in self._order])
        gaps.permute(self._order).copy_(ordered)
        return gaps

    @property
    def _order(self) -> list[int]:
        """Dimensions from the one with the longest strides to the one with the shortest."""
        return sorted(range(len(self.shape)), key=lambda d: (-self.stride[d], -self.shape[d]))

    @property
    def _extent(self) -> int:
        """Elements from the first to the last, gaps included."""
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.stride, strict=True))


def as_bytes(values: Tensor) -> memoryview:
    """The memory of a one-dimensional tensor of the CPU without gaps, to be read or written."""
    return values.view(torch.uint8).numpy().data

"""Memory banks of CIRKD: for every class, a ring of unit teacher vectors of earlier batches.

Every rank has the same bank: what enters comes from all ranks, and what is drawn is counted, a function of the bank's
`step` alone. All shapes are fixed, so that no step waits for the device: what is absent is carried along and masked.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.distributed.means import in_full_precision
from trainers.distributed.ranks import gathered, rank
from trainers.methods.class_regions import class_sums

Fill = Literal["by_class", "published"]

_LAST = torch.iinfo(torch.int64).max
"""Sorts behind every random key."""


class Entries(NamedTuple):
    """Vectors that enter a bank, of every image and class."""

    rows: Tensor
    """[B, C, K, D]."""
    valid: Tensor
    """bool [B, C, K]; the rest of `rows` is not entered."""


class MemoryBank(nn.Module, ABC):
    """For every class, `size` slots that are written in turn, the oldest overwritten.

    Args:
        num_classes: C.
        size: slots of each class.
        channels: D, those of the teacher.
        contrast_size: vectors that `sample` draws, about: `contrast_size // num_classes + 1` of each class.
        contrast_unfilled: begin with random unit vectors in the slots and contrast with them too, as published.
            Otherwise slots never written are not contrasted with.
        half: remember in float16, whatever the method's type: half the memory, and half of a checkpoint.
    """

    rows: Tensor
    pointer: Tensor
    written: Tensor
    step: Tensor

    def __init__(
        self,
        num_classes: int,
        size: int,
        channels: int,
        *,
        contrast_size: int,
        contrast_unfilled: bool = False,
        half: bool = False,
    ) -> None:
        super().__init__()
        shape = (num_classes, size, channels)
        rows = F.normalize(torch.randn(shape), dim=2) if contrast_unfilled else torch.zeros(shape)
        self.register_buffer("rows", rows.half() if half else rows)
        self.register_buffer("pointer", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("written", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.size, self.contrast_unfilled, self.half_rows = size, contrast_unfilled, half
        self.drawn = min(size, contrast_size // num_classes + 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As of every module, but `half` rows go to another device only, and keep their type."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.half_rows:
            self.rows = self.rows.half()
        return self

    @torch.no_grad()
    @in_full_precision
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Enter the teacher's features of this step, of all ranks.

        Args:
            features: unit over channels, [B, D, h, w]; B is the same on all ranks.
            labels: int64 [B, h, w]; values outside [0, C), such as the ignored label, are of no class.
        """
        self.step += 1
        local = self.entries(features, labels)
        self.append(Entries(gathered(local.rows.to(self.rows.dtype)), gathered(local.valid)))

    @abstractmethod
    def entries(self, features: Tensor, labels: Tensor) -> Entries:
        """What of this rank's images enters; see `update`."""

    def append(self, entries: Entries) -> None:
        """Write the valid entries of each class, image by image, after those written last."""
        rows, valid = (part.transpose(0, 1).flatten(1, 2) for part in entries)
        count = valid.sum(1)
        width = min(self.size, valid.shape[1])
        surplus = (count - width).clamp(min=0)  # would be overwritten in this very step
        window = torch.arange(width, device=valid.device)
        chosen = (~valid).int().argsort(dim=1, stable=True).gather(1, surplus[:, None] + window)
        rows = rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[2]))
        self._write(self.pointer + surplus, rows, window < count[:, None])
        self.pointer.add_(count).remainder_(self.size)
        self.written.add_(count).clamp_(max=self.size)

    def _write(self, start: Tensor, rows: Tensor, valid: Tensor) -> None:
        """Put the valid ones of rows [C, width, D] into the slots from start [C] on."""
        slots = (start[:, None] + torch.arange(rows.shape[1], device=rows.device)) % self.size
        slots = slots[..., None].expand_as(rows)
        self.rows.scatter_(1, slots, torch.where(valid[..., None], rows, self.rows.gather(1, slots)))

    @torch.no_grad()
    def sample(self) -> tuple[Tensor, Tensor | None]:
        """Vectors to contrast with: the same random slots of every class, of those that may be contrasted with.

        Returns:
            Rows [C * K, D], and which of them are usable, bool [C * K]; None where all are.
        """
        keys = _random_keys(self.step, "slots", torch.arange(self.size, device=self.step.device))
        keys = keys.expand(len(self.rows), -1)
        if not self.contrast_unfilled:
            unwritten = torch.arange(self.size, device=keys.device) >= self.written[:, None]
            keys = keys.masked_fill(unwritten, _LAST)
        drawn = keys.topk(self.drawn, dim=1, largest=False)
        rows = self.rows.gather(1, drawn.indices[..., None].expand(-1, -1, self.rows.shape[2])).flatten(0, 1)
        return rows, None if self.contrast_unfilled else (drawn.values != _LAST).flatten()


class PixelBank(MemoryBank):
    """Vectors of single pixels.

    Args:
        pixels_per_class: how many pixels of a class enter from one image, at most.
        fill: "by_class" enters random pixels of the class, into the next slots of a ring. "published" does what the
            published code does: where n pixels are of the class, it enters random ones of the *first n pixels* of the
            image, whatever they are of; and where the slots left do not suffice, or just suffice, it overwrites the
            last ones and begins again at the first.
        options: those of every bank, `contrast_unfilled` and `half`.
    """

    def __init__(
        self,
        num_classes: int,
        size: int,
        channels: int,
        *,
        contrast_size: int,
        pixels_per_class: int = 16,
        fill: Fill = "by_class",
        **options: bool,
    ) -> None:
        super().__init__(num_classes, size, channels, contrast_size=contrast_size, **options)
        self.pixels_per_class, self.fill = pixels_per_class, fill

    def entries(self, features: Tensor, labels: Tensor) -> Entries:
        features, labels = features.flatten(2), labels.flatten(1)
        pick = self._first_positions if self.fill == "published" else self._pixels_of_class
        positions, valid = pick(labels)
        index = positions.flatten(1)[:, None].expand(-1, features.shape[1], -1)
        rows = features.gather(2, index).transpose(1, 2)
        return Entries(rows.view(*positions.shape, -1), valid)

    def append(self, entries: Entries) -> None:
        if self.fill == "by_class":
            super().append(entries)
            return
        for rows, valid in zip(*entries, strict=True):
            count = valid.sum(1)
            full = self.pointer + count >= self.size
            start = torch.where(full, self.size - count, self.pointer)
            self._write(start, rows, valid)
            self.pointer.copy_((start + count) % self.size)
            self.written.copy_(torch.maximum(self.written, start + count))

    def _pixels_of_class(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Positions [B, C, K] of random pixels of each class in labels [B, N], and which are valid."""
        order = _random_keys(self.step, "pixels", _own(labels.shape, labels.device)).argsort(dim=1)
        order = order.gather(1, labels.gather(1, order).argsort(dim=1, stable=True))
        first, last = self._spans(labels.gather(1, order))
        place = first[..., None] + torch.arange(self._width(labels), device=labels.device)
        positions = order.gather(1, place.clamp(max=labels.shape[1] - 1).flatten(1)).view_as(place)
        return positions, place < last[..., None]

    def _first_positions(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `_pixels_of_class`, but of the first n positions of the image, where n pixels are of the class."""
        first, last = self._spans(labels.sort(dim=1).values)
        count = (last - first)[..., None]
        keys = _random_keys(self.step, "pixels", _own((*first.shape, labels.shape[1]), labels.device))
        keys = keys.masked_fill(torch.arange(labels.shape[1], device=labels.device) >= count, _LAST)
        width = self._width(labels)
        positions = keys.topk(width, dim=2, largest=False).indices
        return positions, torch.arange(width, device=labels.device) < count

    def _spans(self, ordered: Tensor) -> tuple[Tensor, Tensor]:
        """Where each class begins and ends in ascending labels [B, N]; both [B, C]."""
        classes = torch.arange(len(self.rows), device=ordered.device).repeat(len(ordered), 1)
        return torch.searchsorted(ordered, classes), torch.searchsorted(ordered, classes, right=True)

    def _width(self, labels: Tensor) -> int:
        return min(self.pixels_per_class, self.size, labels.shape[1])


class RegionBank(MemoryBank):
    """Vectors of regions: of every image and class, the mean over the pixels of the class, normalised."""

    def entries(self, features: Tensor, labels: Tensor) -> Entries:
        sums, counts, _ = class_sums(features, labels, num_classes=len(self.rows))
        return Entries(F.normalize(sums, dim=2)[:, :, None], counts[:, :, None] > 0)


def _own(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Numbers of this rank's items among those of all ranks, in `shape` [B, ...]."""
    numbers = torch.arange(torch.Size(shape).numel(), device=device).view(shape)
    return numbers + rank() * numbers.numel()


def _random_keys(step: Tensor, stream: Literal["pixels", "slots"], numbers: Tensor) -> Tensor:
    """A random int64 in [0, 2^63) for every number, the same on every device and rank.

    The generator is SplitMix64 (Steele 2014). A generator of torch would need the step on the host.
    """
    seed = _mixed(2 * step + (stream == "slots"))
    return _mixed(seed + numbers * -0x61C8864680B583EB) & _LAST


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser, in int64 that wraps around."""
    bits = (bits ^ _shifted(bits, 30)) * -0x40A7B892E31B1A47
    bits = (bits ^ _shifted(bits, 27)) * -0x6B2FB644ECCEEE15
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Right by some bits; zeros come in where torch would copy the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)

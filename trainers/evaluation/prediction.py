"""Inference on whole images: one forward pass, or sliding windows and test-time augmentation.

A sliding window is for networks that were trained on crops; its logits are averaged where windows overlap. Multi-scale
and mirrored inference averages the softmax probabilities of all passes. Published mIoU often includes one of these, and
is comparable only with mIoU under the same options.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen
from torch import Tensor, nn

from trainers.difficulty import upsample

Side = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class Views:
    """Inference options; the default is one forward pass of the whole image.

    Attributes:
        scales: factors of the image's size, one pass each.
        flip: one more pass per scale on the mirrored image.
        window: height and width in pixels of a window that slides over the scaled image; None for the whole image.
        stride: vertical and horizontal step of the window in pixels; None for two thirds of the window.
    """

    scales: Annotated[tuple[Annotated[float, Gt(0), Le(8)], ...], MinLen(1)] = (1.0,)
    flip: bool = False
    window: tuple[Side, Side] | None = None
    stride: tuple[Side, Side] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a stride without window, or one that leaves gaps."""
        if self.stride is None:
            return
        if self.window is None or any(step > side for step, side in zip(self.stride, self.window, strict=True)):
            raise ValueError(
                f"a stride must be that of a window and at most as large, but got stride={self.stride} and "
                f"window={self.window}; lower the stride, or give a window"
            )


def predict(network: nn.Module, images: Tensor, views: Views) -> Tensor:
    """The class of every pixel.

    Args:
        network: in eval mode, gives "logits".
        images: normalised [B, 3, H, W].
        views: inference options.

    Returns:
        int64 [B, H, W].
    """
    passes = [(scale, mirrored) for scale in views.scales for mirrored in ((False, True) if views.flip else (False,))]
    if len(passes) == 1:
        return _largest(_view_logits(network, images, views, *passes[0]))
    probabilities = (_view_logits(network, images, views, *one).softmax(1) for one in passes)
    return _largest(reduce(Tensor.add_, probabilities))


def _largest(scores: Tensor) -> Tensor:
    """The class of the largest score, the first one of equals; [B, C, H, W] to int64 [B, H, W]."""
    return scores.max(1).indices  # the same as argmax, which takes three to five times as long on the CPU


def _view_logits(network: nn.Module, images: Tensor, views: Views, scale: float, mirrored: bool) -> Tensor:
    """Logits [B, C, H, W] at the images' own size, from one scale and orientation."""
    height, width = images.shape[-2], images.shape[-1]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    scaled = upsample(images, size)
    logits = upsample(_logits(network, scaled.flip(-1) if mirrored else scaled, views), (height, width))
    return logits.flip(-1) if mirrored else logits


def _logits(network: nn.Module, images: Tensor, views: Views) -> Tensor:
    """Logits [B, C, h, w] of the whole image, or the mean at each pixel over the windows that cover it."""
    if views.window is None:
        whole: Tensor = network(images)["logits"]
        return whole
    total: Tensor | None = None
    covered = images.new_zeros(images.shape[-2:])
    for rows, columns in _windows(images, views):
        part = images[..., rows, columns]
        logits = upsample(network(part)["logits"], (part.shape[-2], part.shape[-1]))
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], *covered.shape)
        total[..., rows, columns] += logits
        covered[rows, columns] += 1
    assert total is not None
    return total / covered


def _windows(images: Tensor, views: Views) -> list[tuple[slice, slice]]:
    """Windows over [.., H, W], the last of each row and column flush with the edge."""
    assert views.window is not None
    stride = views.stride or tuple(max(1, side * 2 // 3) for side in views.window)
    rows, columns = (_starts(*sides) for sides in zip(images.shape[-2:], views.window, stride, strict=True))
    height, width = views.window
    return [(slice(top, top + height), slice(left, left + width)) for top in rows for left in columns]


def _starts(length: int, window: int, stride: int) -> list[int]:
    return [*range(0, max(0, length - window), stride), max(0, length - window)]

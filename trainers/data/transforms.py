"""From a dataset's arrays to training samples and batches: random scale, crop with ignore padding, flip; normalisation.

Images stay uint8 RGB until `Normalisation` is applied on the device, because the normalisation belongs to a network's
weights, not to the data: student and teacher may differ in it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.config import AugmentConfig
from trainers.data import IGNORE, Array, SegmentationDataset
from trainers.data.jitter import jittered
from trainers.data.order import CountedBatches, generator

VERSION = 1
"""Of the augmentation: raised with every change to what it makes of an image, a configuration and a generator."""

PADDING = (124, 116, 104)
"""The RGB value around an image that is smaller than the crop: near ImageNet's mean, so near 0 once normalised."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Per-channel mean and standard deviation of RGB values in 0..255; `bgr` where a network wants that order."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    bgr: bool = False

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """RGB uint8 [B, 3, H, W] to normalised `dtype` [B, 3, H, W]."""
        mean, std = (_per_channel(values, images.device, dtype) for values in (self.mean, self.std))
        normalised = (images.to(dtype) - mean) / std
        return normalised.flip(1) if self.bgr else normalised


def _per_channel(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """[1, C, 1, 1], filled on the device: a GPU would make the host wait for a copy."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values]).view(1, -1, 1, 1)


NORMALISATION = Normalisation()
"""Of every student: ImageNet's, as timm's weights expect."""


def augment(image: Array, label: Array, config: AugmentConfig, rng: np.random.Generator) -> tuple[Array, Array]:
    """Scale, crop, jitter, pad and flip; image [H, W, 3] and label [H, W] to the crop's size.

    The jitter's numbers are drawn last, so that it changes neither the crop nor the flip of a sample.
    """
    scale = rng.uniform(*config.scale)
    size = _Size(*(side if scale == 1 else max(1, round(side * scale)) for side in label.shape))
    height, width = config.crop
    top = int(rng.integers(max(0, size.height - height) + 1))
    left = int(rng.integers(max(0, size.width - width) + 1))
    part = _Window(slice(top, min(top + height, size.height)), slice(left, min(left + width, size.width)))
    image, label = PARTS[config.version](image, label, size, part)
    mirrored = config.flip and rng.random() < 0.5
    image, label = _padded(jittered(image, config.jitter, rng), label, height, width)
    return (image[:, ::-1], label[:, ::-1]) if mirrored else (image, label)


class _Size(NamedTuple):
    height: int
    width: int


class _Window(NamedTuple):
    rows: slice
    columns: slice


def part_of_scaled(image: Array, label: Array, size: _Size, part: _Window) -> tuple[Array, Array]:
    """A part of image and label scaled to a size: all of both is scaled first, bilinear and nearest."""
    if size != label.shape:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    return image[part], label[part]


def scaled_part(image: Array, label: Array, size: _Size, part: _Window) -> tuple[Array, Array]:
    """The same part, of which alone the pixels are computed.

    Pixel x of the scaled image lies at (x + 1/2) * ratio - 1/2 of the source, and takes its label from the pixel at
    floor(x * ratio), as in OpenCV's `resize`. A window that is cut out of the source in whole pixels and then resized
    would be moved by up to a pixel and have another ratio.
    """
    if size == label.shape:
        return image[part], label[part]
    down, right = np.divide(label.shape, size)
    top, left = (part.rows.start + 0.5) * down - 0.5, (part.columns.start + 0.5) * right - 0.5
    rows = _nearest(part.rows, size.height, label.shape[0])
    columns = _nearest(part.columns, size.width, label.shape[1])
    window = cv2.warpAffine(
        image,
        np.array([[right, 0, left], [0, down, top]]),
        (len(columns), len(rows)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return window, label[rows].take(columns, axis=1)


def _nearest(span: slice, scaled: int, side: int) -> NDArray[np.intp]:
    """The source's row or column of each one in a span of the scaled image, in OpenCV's own arithmetic."""
    # the reciprocal of a quotient: elsewhere rounded, side / scaled would be another neighbour now and then
    found = np.floor(np.arange(span.start, span.stop) * (1 / (scaled / side))).astype(np.intp)
    return np.minimum(found, side - 1)


PARTS = {1: part_of_scaled, 2: scaled_part}
"""How the crop of a sample is made, by the augmentation's version."""


def _padded(image: Array, label: Array, height: int, width: int) -> tuple[Array, Array]:
    below, right = height - label.shape[0], width - label.shape[1]
    if not below and not right:
        return image, label
    return (
        cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING),
        cv2.copyMakeBorder(label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=IGNORE),
    )


def tensors(image: Array, label: Array) -> tuple[Tensor, Tensor]:
    """Image uint8 [3, H, W] and label uint8 [H, W]: eight times smaller on their way to the device than as int64."""
    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
    # a dataset of the user's own may hold other integers
    kind = np.uint8 if label.dtype == np.uint8 else np.int64
    return torch.from_numpy(channels_first), torch.from_numpy(label.astype(kind))


class TrainingSamples(Dataset[tuple[Tensor, Tensor]]):
    """Augmented samples by (epoch, index).

    Raises:
        ValueError: where the lowest scale is above the highest.
    """

    def __init__(self, data: SegmentationDataset, config: AugmentConfig, *, seed: int) -> None:
        if config.scale[0] > config.scale[1]:
            raise ValueError(
                f"augment.scale must be the lowest and the highest factor, but got {config.scale}; swap them"
            )
        self.data, self.config, self.seed = data, config, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        image, label = self.data.load(index)
        return tensors(*augment(image, label, self.config, generator(self.seed, "augment", epoch, index)))


def training_batches(
    data: SegmentationDataset,
    augment: AugmentConfig,
    *,
    batch: int,
    seed: int,
    stop: int,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """One rank's counted batches of the iterations `start` to `stop`, read by so many processes."""
    order = CountedBatches(length=len(data), batch=batch, seed=seed, start=start, stop=stop, rank=rank, ranks=ranks)
    samples = TrainingSamples(data, augment, seed=seed)
    return DataLoader(samples, batch_sampler=order, num_workers=workers, pin_memory=pin_memory)


class WholeImages(Dataset[tuple[Tensor, Tensor]]):
    """Every image of a split as it is, by index."""

    def __init__(self, data: SegmentationDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return tensors(*self.data.load(index))

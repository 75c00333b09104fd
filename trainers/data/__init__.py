"""Datasets: one file each, with a `Config` and a `Dataset`; what they share is declared here."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""The label of pixels that count for nothing, in every dataset after loading."""

Split = Literal["train", "val", "test"]
Array = NDArray[np.uint8]


class SegmentationDataset(Protocol):
    """Images and labels of one split; index to arrays, always the same arrays.

    By two more attributes, either of which a dataset may have, its decoded images are recognised when they are kept:
    `files`, the paths of all files that decide what the split holds, or `drawn`, true where images follow from the
    configuration and the dataset's code alone.
    """

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour per class, for pictures."""
        ...

    @property
    def ids(self) -> tuple[int, ...]:
        """The value that stands for each class in the dataset's own label files, and so in exported predictions."""
        ...

    def __len__(self) -> int: ...

    def image_name(self, index: int) -> str:
        """A name that stays the same between runs, for tables."""
        ...

    def load(self, index: int) -> tuple[Array, Array]:
        """Image uint8 RGB [H, W, 3] and label uint8 [H, W] (class index, or IGNORE)."""
        ...

"""Predictions as PNG files: in the dataset's colours for the eye, or in its own label values for a server."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from trainers.data import Array, SegmentationDataset

Kind = Literal["colour", "ids"]


class Export:
    """Writes `FOLDER/IMAGE NAME.png` for predictions of one split.

    Args:
        folder: made where it is not there.
        data: the split; gives names, colours and label values (of Cityscapes: labelIds).
        kind: "colour" for RGB, "ids" for one 8-bit channel.
    """

    def __init__(self, folder: Path, data: SegmentationDataset, kind: Kind) -> None:
        self._folder, self._data = folder, data
        # OpenCV writes BGR
        self._values = np.array([colour[::-1] for colour in data.palette] if kind == "colour" else data.ids, np.uint8)

    def write(self, index: int, prediction: Array) -> None:
        """One image's classes [H, W].

        Raises:
            ValueError: where the file cannot be written; names it.
        """
        path = self._folder / f"{self._data.image_name(index)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), self._values[prediction]):
            raise ValueError(f"{path} must be writable, but could not be written; choose another folder")

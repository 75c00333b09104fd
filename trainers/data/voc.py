"""PASCAL VOC 2012 as `VOCdevkit/VOC2012`, trained on the list that adds SBD's annotations (Hariharan et al., 2011).

Validation reads `SegmentationClass/`, whose labels are PNGs with VOC's palette; training reads `SegmentationClassAug/`,
where VOC's and SBD's labels lie together as plain 8-bit PNGs. Both kinds may stand in either folder. A list's line is
an image's name, as VOC publishes them, or the paths of an image and its label, as train_aug is often passed on. Labels
hold 0..20, and 255 for borders and objects left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from trainers.data import IGNORE, Array, Split
from trainers.data.decoding import png_kind
from trainers.data.files import FileDataset, Pair, find_folder, read_list

AUGMENTED = ("train_aug", "trainaug")
"""Names that the augmented list goes by."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:

    root: `VOCdevkit`, the folder that holds it, or `VOC2012` itself.
    train_list: images to train on: VOC's with SBD's (10,582), or VOC's alone (1,464).
    """

    name: Literal["voc"] = "voc"
    root: str = field(default="", metadata={"location": True})
    train_list: Literal["train_aug", "train"] = "train_aug"


def colour(index: int) -> tuple[int, int, int]:
    """VOC's colour of an index: its bits in turn go to red, green and blue, from their highest bits down."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]


COLOURS = np.array([colour(index) for index in range(256)], np.uint8)
"""VOC's palette, RGB."""


class Dataset(FileDataset):
    """One split of PASCAL VOC 2012; the test split has no published labels.

    Raises:
        ValueError: where the folder, a list, an image or a label is missing; names it.
    """

    class_names: ClassVar[tuple[str, ...]] = (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    )  # fmt: skip
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = tuple(colour(index) for index in range(21))
    ids: ClassVar[tuple[int, ...]] = tuple(range(21))
    published: ClassVar[Mapping[Split, int]] = {"train": 10582, "val": 1449, "test": 1456}
    remedy: ClassVar[str] = (
        "take SegmentationClass as published, or SBD's labels as 8-bit PNGs of the values 0..20 and 255"
    )

    def __init__(self, config: Config, split: Split) -> None:
        remedy = (
            "set data.root to VOCdevkit as published, with SBD's labels in VOC2012/SegmentationClassAug and their list "
            "in ImageSets/Segmentation/train_aug.txt; data.train_list=train needs neither"
        )
        folder = find_folder(
            config.root, whose="VOC's", holds="JPEGImages", below=("VOC2012", "VOCdevkit/VOC2012"), remedy=remedy
        )
        augmented = split == "train" and config.train_list == "train_aug"
        listing = _listing(folder / "ImageSets" / "Segmentation", AUGMENTED if augmented else (split,))
        labels = None if split == "test" else "SegmentationClassAug" if augmented else "SegmentationClass"
        pairs = [_pair(folder, labels, line, listing) for line in read_list(listing, remedy)]
        super().__init__(pairs, {**{i: i for i in self.ids}, 255: IGNORE}, listing=listing)

    def stored_values(self, pixels: Array, data: Array, path: Path) -> Array:
        if "palette" not in (png_kind(data) or ""):
            return super().stored_values(pixels, data, path)
        # OpenCV gives the colours of a palette, never its indices
        colours = pixels[..., 2::-1]
        indices = _indices(colours)
        if not np.array_equal(COLOURS[indices], colours):
            raise ValueError(f"a label's palette must be VOC's, but {path} has other colours; {self.remedy}")
        return indices


def _indices(colours: Array) -> Array:
    """The inverse of `colour`: RGB [H, W, 3] to indices [H, W]; of a colour that is none of VOC's, anything."""
    indices = np.zeros(colours.shape[:2], np.uint8)
    for bit in range(8):
        indices |= (colours[..., bit % 3] >> (7 - bit // 3) & 1) << bit
    return indices


def _listing(folder: Path, known: tuple[str, ...]) -> Path:
    """The first list that is there, or else the one that should be."""
    paths = [folder / f"{name}.txt" for name in known]
    return next((path for path in paths if path.is_file()), paths[0])


def _pair(folder: Path, labels: str | None, line: list[str], listing: Path) -> Pair:
    if len(line) > 2:
        raise ValueError(
            f"each line of {listing} must be an image's name, or the paths of an image and its label, but got {line}; "
            "correct that line"
        )
    if len(line) == 1:
        (name,) = line
        return Pair(folder / "JPEGImages" / f"{name}.jpg", folder / labels / f"{name}.png" if labels else None)
    image, label = (folder / word.lstrip("/") for word in line)
    return Pair(image, label if labels else None)

"""Cityscapes: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` with fine labels `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`.

19 of the 34 published labels are classes, the others are ignored. Where not every image of a split has its labelIds,
the `*_gtFine_labelTrainIds.png` that Cityscapes' own scripts make of them are read instead; `encoding` says which. The
test split's published labels hold no classes, so they are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from trainers.data import IGNORE, Split
from trainers.data.files import FileDataset, Pair, SplitMissingError, find_folder, names

IMAGE = "_leftImg8bit.png"
ENCODINGS = ("labelIds", "labelTrainIds")
FRAMES = 1000
"""Frames of a sequence that are taken together: about a minute."""
LABEL_IDS = range(34)
"""All values of labelIds; a license plate has none and keeps what lies around it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:

    root: the folder that holds `leftImg8bit` and `gtFine`.
    """

    name: Literal["cityscapes"] = "cityscapes"
    root: str = field(default="", metadata={"location": True})


class Dataset(FileDataset):
    """One split of Cityscapes.

    Attributes:
        encoding: "labelIds" or "labelTrainIds", whichever was found; None for the test split.

    Raises:
        ValueError: where the folder, an image or a label is missing; names it.
    """

    class_names: ClassVar[tuple[str, ...]] = (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    )  # fmt: skip
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    )  # fmt: skip
    ids: ClassVar[tuple[int, ...]] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    published: ClassVar[Mapping[Split, int]] = {"train": 2975, "val": 500, "test": 1525}
    remedy: ClassVar[str] = (
        "take gtFine's labelIds as published, or make labelTrainIds of them with Cityscapes' createTrainIdLabelImgs"
    )

    def __init__(self, config: Config, split: Split) -> None:
        remedy = "set data.root to the folder that holds leftImg8bit/ and gtFine/"
        root = find_folder(config.root, whose="Cityscapes'", holds="leftImg8bit", remedy=remedy)
        images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
        found = names(images, "*/*", IMAGE)
        if not found:
            raise SplitMissingError(f"{images} must hold images CITY/*{IMAGE}, but holds none; {remedy}")
        if split == "test":
            super().__init__([Pair(images / f"{name}{IMAGE}", None) for name in sorted(found)], {})
            return
        encoding, labelled = _encoding(labels, found)
        pairs = [
            Pair(images / f"{name}{IMAGE}", labels / f"{name}{_suffix(encoding)}") for name in sorted(found | labelled)
        ]
        super().__init__(pairs, _values(encoding), encoding=encoding)

    def image_name(self, index: int) -> str:
        """`CITY_SEQUENCE_FRAME`, by which the evaluation server finds a prediction."""
        return self.pairs[index].image.name.removesuffix(IMAGE)

    def image_group(self, index: int) -> str:
        """`CITY_SEQUENCE_THOUSANDS`: some sequences go through a whole city, so each thousand of frames is a group."""
        name = self.image_name(index)
        recorded, _, frame = name.rpartition("_")
        return f"{recorded}_{int(frame) // FRAMES}" if recorded and frame.isdecimal() else name


def _suffix(encoding: str) -> str:
    return f"_gtFine_{encoding}.png"


def _encoding(labels: Path, images: set[str]) -> tuple[str, set[str]]:
    """The first encoding that most images have their label in, and the names that have one."""
    found = {encoding: names(labels, "*/*", _suffix(encoding)) for encoding in ENCODINGS}
    best = max(ENCODINGS, key=lambda encoding: len(found[encoding] & images))
    return best, found[best]


def _values(encoding: str) -> dict[int, int]:
    """What a label file's values stand for."""
    if encoding == "labelTrainIds":
        return {**{train_id: train_id for train_id in range(len(Dataset.ids))}, 255: IGNORE}
    return {**dict.fromkeys(LABEL_IDS, IGNORE), **{label: train_id for train_id, label in enumerate(Dataset.ids)}}

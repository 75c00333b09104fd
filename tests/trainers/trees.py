"""Datasets of a few tiny images in exactly the layouts that the real ones are published in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data import ade20k, camvid, cityscapes, voc

SIZE = (18, 24)


def write(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_image(path: Path, seed: int) -> None:
    write(path, np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def values(seed: int, *known: int) -> NDArray[np.uint8]:
    """A label map that holds every one of these values."""
    rng = np.random.default_rng(seed)
    pixels = rng.choice(np.array(known, np.uint8), SIZE[0] * SIZE[1])
    pixels[: len(known)] = known
    return rng.permutation(pixels).reshape(SIZE)


@dataclass(frozen=True)
class Tree:
    """What was written: two images to train on, one to validate on, one to test on.

    Attributes:
        image: the second training image's file.
        label: and its label's, 8 bits of one channel.
        stored: the values that were written there.
        outside: a value that no label file may hold.
        classes: the class that each value stands for; others are ignored.
    """

    module: ModuleType
    root: Path
    image: Path
    label: Path
    stored: NDArray[np.uint8]
    outside: int
    classes: dict[int, int]
    counts: dict[str, int]

    def data(self, split: str = "train") -> Any:
        return self.module.Dataset(self.module.Config(root=str(self.root)), split)


CITYSCAPES_CLASSES = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
                      26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


def cityscapes_tree(root: Path, encoding: str = "labelIds") -> Tree:
    known, classes, outside = list(range(34)), CITYSCAPES_CLASSES, 34
    if encoding == "labelTrainIds":
        known, classes, outside = [*range(19), 255], {i: i for i in range(19)}, 19
    images = {"train": ("aachen", "bochum"), "val": ("lindau",), "test": ("berlin",)}
    stored = values(0, *known)
    for split, cities in images.items():
        for seed, city in enumerate(cities):
            name = f"{city}_00000{seed}_000019"
            write_image(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", seed)
            stored = values(seed, *known) if split != "test" else np.zeros(SIZE, np.uint8)
            write(root / f"gtFine/{split}/{city}/{name}_gtFine_{encoding}.png", stored)
            write(root / f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png", stored.astype(np.uint16) * 1000)
    name = "bochum/bochum_000001_000019"
    image, label = (
        root / f"leftImg8bit/train/{name}_leftImg8bit.png",
        root / f"gtFine/train/{name}_gtFine_{encoding}.png",
    )
    counts = {split: len(cities) for split, cities in images.items()}
    return Tree(cityscapes, root, image, label, values(1, *known), outside, classes, counts)


def voc_tree(root: Path, *, pairs: bool = False) -> Tree:
    """SBD's training labels are plain, those of validation have VOC's palette; a list of names, or of paths."""
    folder = root / "VOCdevkit/VOC2012"
    known = [*range(21), 255]
    palette = voc.COLOURS.ravel().tolist()
    names = {"train_aug": ["2008_000002", "2007_000032"], "val": ["2007_000033"], "test": ["2008_000006"]}
    for listing, split in names.items():
        lines = split
        for seed, name in enumerate(split):
            write_image(folder / f"JPEGImages/{name}.jpg", seed)
            if listing == "train_aug":
                write(folder / f"SegmentationClassAug/{name}.png", values(seed, *known))
        if listing == "train_aug" and pairs:
            lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in split]
        path = folder / f"ImageSets/Segmentation/{listing}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    image = Image.fromarray(values(0, *known))
    image.putpalette(palette)
    (folder / "SegmentationClass").mkdir()
    image.save(folder / "SegmentationClass/2007_000033.png")
    (folder / "ImageSets/Segmentation/train.txt").write_text("2007_000033\n")
    return Tree(
        voc,
        root,
        folder / "JPEGImages/2007_000032.jpg",
        folder / "SegmentationClassAug/2007_000032.png",
        values(1, *known),
        21,
        {i: i for i in range(21)},
        {"train": 2, "val": 1, "test": 1},
    )


def ade20k_tree(root: Path) -> Tree:
    folder = root / "ADEChallengeData2016"
    known = range(151)
    for split, short, count in (("training", "train", 2), ("validation", "val", 1)):
        for number in range(count):
            name = f"ADE_{short}_{number + 1:08d}"
            write_image(folder / f"images/{split}/{name}.jpg", number)
            write(folder / f"annotations/{split}/{name}.png", values(number, *known))
    write_image(root / "release_test/testing/ADE_test_00000001.jpg", 0)
    name = "training/ADE_train_00000002"
    return Tree(
        ade20k,
        root,
        folder / f"images/{name}.jpg",
        folder / f"annotations/{name}.png",
        values(1, *known),
        151,
        {value: value - 1 for value in range(1, 151)},
        {"train": 2, "val": 1, "test": 1},
    )


def camvid_tree(root: Path) -> Tree:
    """Listed with the absolute prefix of their publication."""
    for split, names in (("train", ("a", "b")), ("val", ("c",)), ("test", ("d",))):
        for seed, name in enumerate(names):
            write_image(root / f"{split}/{name}.png", seed)
            write(root / f"{split}annot/{name}.png", values(seed, *range(12)))
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return Tree(
        camvid,
        root,
        root / "train/b.png",
        root / "trainannot/b.png",
        values(1, *range(12)),
        12,
        {i: i for i in range(11)},
        {"train": 2, "val": 1, "test": 1},
    )


TREES: dict[str, Callable[[Path], Tree]] = {
    "cityscapes": cityscapes_tree,
    "voc": voc_tree,
    "ade20k": ade20k_tree,
    "camvid": camvid_tree,
}

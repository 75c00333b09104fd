"""CamVid in the SegNet layout: `train/`, `trainannot/`, `val/`, `valannot/` and the lists `train.txt`, `val.txt`.

Each line of a list names an image and its label; of these paths only the last two parts are used, because the lists
were published with an absolute prefix. Labels hold 0..10, and 11 for void.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from annotated_types import Ge

from trainers.data import IGNORE, Array, Split

VOID = 11


@dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:

    root: the folder that holds `train.txt`.
    size: height and width that images and labels are resized to after reading; None keeps 360 x 480.
    """

    name: Literal["camvid"] = "camvid"
    root: str = field(default="", metadata={"location": True})
    size: tuple[Annotated[int, Ge(16)], Annotated[int, Ge(16)]] | None = None


class Dataset:
    """One split of CamVid.

    Raises:
        ValueError: where the folder, a list, an image or a label is missing; names it.
    """

    class_names: ClassVar[tuple[str, ...]] = (
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
        "bicyclist",
    )  # fmt: skip
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    )  # fmt: skip

    def __init__(self, config: Config, split: Split) -> None:
        self.size = config.size
        self.pairs = _pairs(config.root, split)

    def __len__(self) -> int:
        return len(self.pairs)

    def image_name(self, index: int) -> str:
        return self.pairs[index][0].stem

    def load(self, index: int) -> tuple[Array, Array]:
        image_path, label_path = self.pairs[index]
        image, label = (
            _read(image_path, cv2.IMREAD_COLOR_RGB),
            _read(label_path, cv2.IMREAD_UNCHANGED),
        )
        _check(image, label, label_path)
        if self.size is not None:
            height, width = self.size
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
        return image, np.where(label == VOID, IGNORE, label).astype(np.uint8)


def _pairs(root: str, split: Split) -> list[tuple[Path, Path]]:
    """The image and label files of one split, all of which exist."""
    folder = Path(root)
    listing = folder / f"{split}.txt"
    remedy = "set data.root to the folder that holds train.txt, train/ and trainannot/ (SegNet layout)"
    if not root or not folder.is_dir():
        raise ValueError(f"data.root must be CamVid's folder, but got {root!r}, which is none; {remedy}")
    if not listing.is_file():
        raise ValueError(f"CamVid's folder must hold {listing.name}, but {folder} does not; {remedy}")
    lines = [line.split() for line in listing.read_text().splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{listing} must list at least one image, but it is empty; {remedy}")
    wrong = next((line for line in lines if len(line) != 2), None)
    if wrong:
        raise ValueError(f"each line of {listing} must name an image and its label, but got {wrong}; correct that line")
    pairs = [(_under(folder, image), _under(folder, label)) for image, label in lines]
    missing = next((path for pair in pairs for path in pair if not path.is_file()), None)
    if missing:
        raise ValueError(
            f"every image of {listing} must have its image and label file, but {missing} is missing; "
            "complete the folder or take the line out"
        )
    return pairs


def _under(folder: Path, listed: str) -> Path:
    return folder.joinpath(*Path(listed).parts[-2:])


def _read(path: Path, mode: int) -> Array:
    array: Array | None = cv2.imdecode(np.fromfile(path, dtype=np.uint8), mode) if path.stat().st_size else None
    if array is None:
        raise ValueError(f"{path} must be a readable image, but it could not be decoded; restore it")
    return array


def _check(image: Array, label: Array, path: Path) -> None:
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ValueError(
            f"a label must be one 8-bit channel, but {path} has shape {label.shape} and type {label.dtype}; "
            "use the SegNet layout's annotations"
        )
    if image.shape[:2] != label.shape:
        raise ValueError(
            f"image and label must have the same size, but {path} is {label.shape} and its image {image.shape[:2]}; "
            "put both back from one download"
        )
    if label.max(initial=0) > VOID:
        raise ValueError(
            f"CamVid's labels must be 0..10 or {VOID} for void, but {path} holds {label.max()}; "
            "use the SegNet layout's annotations"
        )

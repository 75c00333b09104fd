"""CamVid in the SegNet layout: `train/`, `trainannot/` and the list `train.txt`, and the same for `val` and `test`.

The lists name an image and its label, pair by pair; of these paths only the last two parts are used, because the lists
were published with an absolute prefix. Labels hold 0..10, and 11 for void.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from trainers.data import IGNORE, Array, Split
from trainers.data.decoding import resized
from trainers.data.files import FileDataset, Pair, find_folder, read_list

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


class Dataset(FileDataset):
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
    ids: ClassVar[tuple[int, ...]] = tuple(range(11))
    published: ClassVar[Mapping[Split, int]] = {"train": 367, "val": 101, "test": 233}
    labelled: ClassVar[tuple[Split, ...]] = ("train", "val", "test")
    remedy: ClassVar[str] = "take the labels as published in the SegNet layout"

    def __init__(self, config: Config, split: Split) -> None:
        remedy = "set data.root to the folder that holds train.txt, train/ and trainannot/ (SegNet layout)"
        sign = "train.txt" if split == "test" else f"{split}.txt"  # the test split may be left out
        folder = find_folder(config.root, whose="CamVid's", holds=sign, remedy=remedy)
        listing = folder / f"{split}.txt"
        pairs = _pairs(folder, listing, read_list(listing, remedy))
        super().__init__(pairs, {**{i: i for i in self.ids}, VOID: IGNORE}, listing=listing)
        self.size = config.size

    def image_group(self, index: int) -> str:
        """The drive that the image is a frame of: `0016E5` of `0016E5_07959`."""
        return self.image_name(index).partition("_")[0]

    def load(self, index: int) -> tuple[Array, Array]:
        return resized(*super().load(index), self.size)


def _pairs(folder: Path, listing: Path, lines: list[list[str]]) -> list[Pair]:
    wrong = next((line for line in lines if len(line) % 2), None)
    if wrong:
        raise ValueError(f"each line of {listing} must name an image and its label, but got {wrong}; correct that line")
    paths = [folder.joinpath(*Path(word).parts[-2:]) for line in lines for word in line]
    return [Pair(image, label) for image, label in zip(paths[::2], paths[1::2], strict=True)]

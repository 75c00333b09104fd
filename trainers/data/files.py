"""Images and labels in files: what the datasets on disk share.

A file that is missing, cannot be read or is not what was published is named together with what to do about it, whenever
it is met; nothing is skipped. Files are read with OpenCV and labels stay uint8.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainers.data import IGNORE, Array, SegmentationDataset, Split
from trainers.data.decoding import decoded, png_kind, read_bytes, read_image
from trainers.resources.faults import MachineFaultError

UNKNOWN = 254
"""Stands for values that no label file may hold; no dataset has so many classes."""

OWN_DATA = "own data: `data: {name: folder, ...}`, see docs/own-data.md"
"""The way out for files that are not as published."""

NO_IMAGES = ("thumbs.db", "desktop.ini", "__macosx")
"""What file managers leave in folders, beside files whose names begin with a dot."""


class DataGoneError(MachineFaultError):
    """A dataset, or a file of it, cannot be read where it should lie."""


class SplitMissingError(DataGoneError):
    """A split is not there at all, as the test split of a dataset of which only the rest was downloaded."""


class FilesMissingError(DataGoneError):
    """Some files of a split are missing; `images` of its images are there."""

    def __init__(self, missing: list[Path], images: int, listing: Path | None, *, remedy: str = "") -> None:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        listed = f", or take the line out of {listing}" if listing else ""
        super().__init__(
            f"every image must have its file and its label's, but {missing[0]} is missing{more}; "
            f"{remedy or f'complete the folder{listed}'}"
        )
        self.missing, self.images, self.remedy = missing, images, remedy or "complete the folder"


class Pair(NamedTuple):
    """An image's file and its label's; `label` is None where none is published."""

    image: Path
    label: Path | None


class Stored(NamedTuple):
    """What a label file holds.

    Attributes:
        pixels: its values [H, W], or its colours as codes of 24 bits, red the highest byte.
        coloured: which of the two.
        palette: RGB colours [N, 3] of a file whose values are indices into them.
    """

    pixels: NDArray[Any]
    coloured: bool = False
    palette: Array | None = None


class FileDataset(SegmentationDataset):
    """One split of a dataset on disk, a `SegmentationDataset`.

    Args:
        pairs: the files of the split, in order.
        values: what a value of a label file stands for, a class or IGNORE; other values are refused.
        encoding: the kind of label files that were found, where there are several.
        listing: the file that names the pairs, where there is one.

    Attributes:
        values: as given.
        colours: the same of labels in colours; empty where they hold values alone.
        notes: what is odd about its files, one line each.
        splits_by_group: whether images of one group are held out together.

    Raises:
        FilesMissingError: where a file is missing; names the first one.
    """

    published: ClassVar[Mapping[Split, int]]
    """Number of images of each split as published; empty for data of one's own."""
    labelled: ClassVar[tuple[Split, ...]] = ("train", "val")
    remedy: ClassVar[str]
    """Where a label file comes from that is as published."""

    def __init__(
        self,
        pairs: list[Pair],
        values: Mapping[int, int],
        *,
        encoding: str | None = None,
        listing: Path | None = None,
    ) -> None:
        _refuse_missing(pairs, listing)
        self.pairs, self.encoding = pairs, encoding
        self._listing = listing
        self.values = dict(values)
        self.colours: Mapping[tuple[int, int, int], int] = {}
        self.notes: tuple[str, ...] = ()
        self.splits_by_group = False
        self._table = np.full(256, UNKNOWN, np.uint8)
        self._table[list(values)] = list(values.values())

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def files(self) -> list[Path]:
        """All files that decide what the split holds."""
        listed = [] if self._listing is None else [self._listing]
        return listed + [path for pair in self.pairs for path in pair if path is not None]

    @property
    def is_labelled(self) -> bool:
        """Whether its images have labels."""
        return any(pair.label is not None for pair in self.pairs)

    def image_name(self, index: int) -> str:
        return self.pairs[index].image.stem

    def load(self, index: int) -> tuple[Array, Array]:
        """Image uint8 RGB [H, W, 3] and label uint8 [H, W]; all IGNORE where no label is published.

        Raises:
            ValueError: where a file cannot be read or is not as published; names it.
        """
        return self.combined(index, self.image(index), self.stored(index))

    def image(self, index: int) -> Array:
        """The image as it lies in its file, uint8 RGB [H, W, 3]."""
        return read_image(self.pairs[index].image)

    def stored(self, index: int) -> Stored | None:
        """What the label's file holds; None where no label is published."""
        path = self.pairs[index].label
        if path is None:
            return None
        data = read_bytes(path)
        return Stored(self.stored_values(decoded(path, data, cv2.IMREAD_UNCHANGED), data, path))

    def combined(self, index: int, image: Array, stored: Stored | None) -> tuple[Array, Array]:
        """Image and label of what their files hold.

        Raises:
            ValueError: where they do not fit together, or the label is not as published; names it.
        """
        path = self.pairs[index].label
        if path is None or stored is None:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        if image.shape[:2] != stored.pixels.shape:
            raise ValueError(
                f"image and label must have the same size, but {path} is {stored.pixels.shape} and its image "
                f"{image.shape[:2]}; {self.size_remedy(index)}"
            )
        return image, self.classes(stored, path)

    def size_remedy(self, index: int) -> str:
        """What to do where an image and its label have other sizes."""
        return "put both back from one download"

    def stored_values(self, pixels: Array, data: Array, path: Path) -> Array:
        """The values of a label file, uint8 [H, W], from its pixels and its bytes."""
        # the pixels do not tell: OpenCV stretches the values of images with fewer bits to 0..255
        if (kind := png_kind(data)) != "8-bit grey":
            raise ValueError(
                f"a label must be a PNG of 8-bit grey, but {path} is {kind or 'no PNG'}; {self.remedy}; {OWN_DATA}"
            )
        return pixels

    def classes(self, stored: Stored, path: Path) -> Array:
        """Classes or IGNORE, uint8 [H, W], of what a label's file holds.

        Raises:
            ValueError: where it holds what it may not; names it.
        """
        label: Array = cv2.LUT(stored.pixels, self._table)
        unknown = label == UNKNOWN
        if unknown.any():
            raise ValueError(
                f"labels must hold {as_ranges(np.array(sorted(self.values)))}, but {path} holds "
                f"{as_ranges(np.unique(stored.pixels[unknown]))}; {self.remedy}; {OWN_DATA}"
            )
        return label


def find_folder(root: str, *, whose: str, holds: str, below: Iterable[str] = (), remedy: str) -> Path:
    """`root`, or the first folder of `below` in it, that holds the file or folder `holds`.

    Raises:
        ValueError: where there is none; says what lies there instead.
    """
    folder = Path(root)
    if not root or not folder.is_dir():
        raise DataGoneError(f"data.root must be {whose} folder, but got {root!r}, which is none; {remedy}")
    for candidate in (folder, *(folder / name for name in below)):
        if (candidate / holds).exists():
            return candidate
    raise DataGoneError(
        f"{whose} folder must hold {holds}, but {folder} does not, {listing_of(folder)}; {remedy}; {OWN_DATA}"
    )


def listing_of(folder: Path) -> str:
    """`it holds masks, photos`: what lies in a folder, for messages."""
    found = sorted(path.name for path in folder.iterdir() if not is_hidden(path.name))
    return f"it holds {', '.join(found[:6]) + (', ...' if len(found) > 6 else '') if found else 'nothing'}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of a dataset's: `._x.png`, `.ipynb_checkpoints`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in NO_IMAGES


def read_list(path: Path, remedy: str) -> list[list[str]]:
    """The words of every line of a list that is not blank.

    Raises:
        SplitMissingError: where there is no such list.
        ValueError: where it is empty or no text.
    """
    if not path.is_file():
        raise SplitMissingError(f"the split's list must be {path}, but there is no such file; {remedy}")
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataGoneError(f"{path} must be a readable list, but: {error}; {remedy}") from None
    if not lines:
        raise DataGoneError(f"{path} must list at least one image, but it is empty; {remedy}")
    return lines


def names(folder: Path, pattern: str, suffix: str) -> set[str]:
    """Paths below `folder`, without `suffix`, of the files that match `pattern` and end in it, hidden ones aside."""
    found = (path.relative_to(folder) for path in folder.glob(pattern + suffix))
    return {path.as_posix().removesuffix(suffix) for path in found if not any(map(is_hidden, path.parts))}


def _refuse_missing(pairs: list[Pair], listing: Path | None) -> None:
    files = [path for pair in pairs for path in pair if path is not None]
    # one listing of each folder: asking for every file takes minutes on a network's file system
    folders = {path.parent for path in files}
    there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    if missing := [path for path in files if path not in there]:
        raise FilesMissingError(missing, sum(pair.image in there for pair in pairs), listing)


def as_ranges(values: NDArray[np.integer]) -> str:
    """`0..18, 255` for sorted values."""
    groups = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}..{group[-1]}" for group in groups)

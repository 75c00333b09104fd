"""Images and labels in files: what the datasets on disk share.

A file that is missing, cannot be read or is not what was published is named together with what to do about it, whenever
it is met; nothing is skipped. Files are read with OpenCV and labels stay uint8.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainers.data import IGNORE, Array, Split

UNKNOWN = 254
"""Stands for values that no label file may hold; no dataset has so many classes."""

PNG = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
"""What a PNG's header calls by these numbers."""


class SplitMissingError(ValueError):
    """A split is not there at all, as the test split of a dataset of which only the rest was downloaded."""


class FilesMissingError(ValueError):
    """Some files of a split are missing; `images` of its images are there."""

    def __init__(self, missing: list[Path], images: int, listing: Path | None) -> None:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        listed = f", or take the line out of {listing}" if listing else ""
        super().__init__(
            f"every image must have its file and its label's, but {missing[0]} is missing{more}; "
            f"complete the folder{listed}"
        )
        self.missing, self.images = missing, images


class Pair(NamedTuple):
    """An image's file and its label's; `label` is None where none is published."""

    image: Path
    label: Path | None


class FileDataset:
    """One split of a dataset on disk, a `SegmentationDataset`.

    Args:
        pairs: the files of the split, in order.
        values: what a value of a label file stands for, a class or IGNORE; other values are refused.
        encoding: the kind of label files that were found, where there are several.
        listing: the file that names the pairs, where there is one.

    Raises:
        FilesMissingError: where a file is missing; names the first one.
    """

    class_names: ClassVar[tuple[str, ...]]
    palette: ClassVar[tuple[tuple[int, int, int], ...]]
    ids: ClassVar[tuple[int, ...]]
    published: ClassVar[Mapping[Split, int]]
    """Number of images of each split as published."""
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
        self._values = np.full(256, UNKNOWN, np.uint8)
        self._values[list(values)] = list(values.values())

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def files(self) -> list[Path]:
        """All files that decide what the split holds."""
        listed = [] if self._listing is None else [self._listing]
        return listed + [path for pair in self.pairs for path in pair if path is not None]

    def image_name(self, index: int) -> str:
        return self.pairs[index].image.stem

    def load(self, index: int) -> tuple[Array, Array]:
        """Image uint8 RGB [H, W, 3] and label uint8 [H, W]; all IGNORE where no label is published.

        Raises:
            ValueError: where a file cannot be read or is not as published; names it.
        """
        pair = self.pairs[index]
        image = read_image(pair.image)
        if pair.label is None:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        stored = self.stored_values(*_decoded(pair.label, cv2.IMREAD_UNCHANGED), pair.label)
        if image.shape[:2] != stored.shape:
            raise ValueError(
                f"image and label must have the same size, but {pair.label} is {stored.shape} and its image "
                f"{image.shape[:2]}; put both back from one download"
            )
        return image, self._classes(stored, pair.label)

    def stored_values(self, pixels: Array, data: Array, path: Path) -> Array:
        """The values of a label file, uint8 [H, W], from its pixels and its bytes."""
        # the pixels do not tell: OpenCV stretches the values of images with fewer bits to 0..255
        if (kind := png_kind(data)) != "8-bit grey":
            raise ValueError(f"a label must be a PNG of 8-bit grey, but {path} is {kind or 'no PNG'}; {self.remedy}")
        return pixels

    def _classes(self, stored: Array, path: Path) -> Array:
        label: Array = cv2.LUT(stored, self._values)
        if (label == UNKNOWN).any():
            wrong = np.unique(stored[label == UNKNOWN])
            raise ValueError(
                f"labels must hold {_ranges(np.flatnonzero(self._values != UNKNOWN))}, but {path} holds "
                f"{_ranges(wrong)}; {self.remedy}"
            )
        return label


def read_image(path: Path) -> Array:
    """An image uint8 RGB [H, W, 3], as its pixels are stored: labels know nothing of an orientation in the header.

    Raises:
        ValueError: where it cannot be read or decoded to its end; names it.
    """
    return _decoded(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)[0]


def png_kind(data: Array) -> str | None:
    """`8-bit grey`: how a PNG's pixels are stored, from its bytes; None for another format."""
    return f"{data[24]}-bit {COLOUR_TYPES[int(data[25])]}" if data[:8].tobytes() == PNG else None


def _decoded(path: Path, mode: int) -> tuple[Array, Array]:
    """The pixels of a file, and its bytes."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ValueError(f"{path} must be a readable file, but is not: {error.strerror}; restore it") from None
    try:
        pixels: Array | None = cv2.imdecode(data, mode) if len(data) else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError(
            f"{path} must be a whole image, but its {len(data)} bytes cannot be decoded; restore it from the download"
        )
    return pixels, data


def find_folder(root: str, *, whose: str, holds: str, below: Iterable[str] = (), remedy: str) -> Path:
    """`root`, or the first folder of `below` in it, that holds the file or folder `holds`.

    Raises:
        ValueError: where there is none; says what lies there instead.
    """
    folder = Path(root)
    if not root or not folder.is_dir():
        raise ValueError(f"data.root must be {whose} folder, but got {root!r}, which is none; {remedy}")
    for candidate in (folder, *(folder / name for name in below)):
        if (candidate / holds).exists():
            return candidate
    found = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "") if found else "nothing"
    raise ValueError(f"{whose} folder must hold {holds}, but {folder} does not, it holds {shown}; {remedy}")


def read_list(path: Path, remedy: str) -> list[list[str]]:
    """The words of every line of a list that is not blank.

    Raises:
        SplitMissingError: where there is no such list.
        ValueError: where it is empty or no text.
    """
    if not path.is_file():
        raise SplitMissingError(f"the split's list must be {path}, but there is no such file; {remedy}")
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a readable list, but: {error}; {remedy}") from None
    if not lines:
        raise ValueError(f"{path} must list at least one image, but it is empty; {remedy}")
    return lines


def names(folder: Path, pattern: str, suffix: str) -> set[str]:
    """Paths below `folder`, without `suffix`, of the files that match `pattern` and end in it."""
    return {path.relative_to(folder).as_posix().removesuffix(suffix) for path in folder.glob(pattern + suffix)}


def _refuse_missing(pairs: list[Pair], listing: Path | None) -> None:
    files = [path for pair in pairs for path in pair if path is not None]
    # one listing of each folder: asking for every file takes minutes on a network's file system
    folders = {path.parent for path in files}
    there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    if missing := [path for path in files if path not in there]:
        raise FilesMissingError(missing, sum(pair.image in there for pair in pairs), listing)


def _ranges(values: NDArray[np.integer]) -> str:
    """`0..18, 255` for sorted values."""
    groups = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}..{group[-1]}" for group in groups)

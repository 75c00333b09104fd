"""A dataset on disk, whole: every file is read, label values are held against what they may be, and counted.

Where a number of images was published it is held against that. Every fault is kept, each with its file; what is only
odd is a note: images that are there twice, labels that look as if they kept to another convention. The files of a split
are read once none of them is missing.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple, get_args

import numpy as np

from trainers.data import IGNORE, Array, Split
from trainers.data.contact_sheet import Panel, chosen, draw
from trainers.data.conventions import Seen, likely_meaning
from trainers.data.decoding import orientation
from trainers.data.files import FileDataset, FilesMissingError, SplitMissingError, Stored
from trainers.data.folders.labels import unpacked

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
SHEET_IMAGES = 9
"""Images of a split on a contact sheet, at most."""
MAX_COLOURS = 100_000
"""Different colours that are kept: labels that hold more are photographs."""


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """One split.

    Attributes:
        published: number of images that it should have; None for data of one's own.
        images: number that it has; None where it cannot be opened.
        labels: the kind of label files that were found, where there are several.
        sizes: images by their size, `360 x 480`, height first.
        class_percent: share of each class in the labelled pixels; empty where there are none.
        unseen: classes that no label holds; empty where there are no labels.
        ignored_percent: share of the pixels that count for nothing.
        faults: what is wrong, one line each.
        notes: what is odd, one line each.
        absent: why a test split, which training does not need, is not there at all.
    """

    published: int | None
    images: int | None = None
    labels: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    class_percent: dict[str, float] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    ignored_percent: float | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: str | None = None


class Checked(NamedTuple):
    """A dataset.

    Attributes:
        splits: what each of them is.
        notes: what is odd between them, one line each.
        sheet: images with their labels, RGB [H, W, 3]; None where it was not asked for, or none can be read.
    """

    splits: dict[Split, SplitCheck]
    notes: list[str]
    sheet: Array | None


class _Image(NamedTuple):
    """What was read of an image: its size, a checksum of its pixels, what its label's file holds, and classes there."""

    name: str
    size: str
    checksum: str
    turned: bool
    values: Mapping[int, int]
    colours: Mapping[tuple[int, int, int], int]
    counts: Counts
    fault: str | None


class _Opened(NamedTuple):
    """A split that could be opened."""

    data: FileDataset
    images: Sequence[_Image | str]

    @property
    def readable(self) -> list[_Image]:
        return [image for image in self.images if not isinstance(image, str)]


def check(dataset: type[FileDataset], config: Any, *, sheet: bool = False) -> Checked:
    """Check every split; reads all images and labels, on all cores.

    Args:
        dataset: the dataset.
        config: its configuration.
        sheet: whether to draw a contact sheet.
    """
    opened: dict[Split, _Opened] = {}
    splits: dict[Split, SplitCheck] = {}
    for split in get_args(Split):
        found = _open(dataset, config, split)
        if isinstance(found, SplitCheck):
            splits[split] = found
        else:
            opened[split] = _Opened(found, _read(found))
            splits[split] = _checked(split, opened[split])
    return Checked(splits, list(_shared_images(opened)), _sheet(opened) if sheet else None)


def _open(dataset: type[FileDataset], config: Any, split: Split) -> FileDataset | SplitCheck:
    """A split, or why it cannot be opened."""
    published = dataset.published.get(split)
    try:
        return dataset(config, split)  # type: ignore[arg-type]  # every dataset's own takes these two
    except ValueError as error:
        if split == "test" and isinstance(error, SplitMissingError):
            return SplitCheck(published=published, absent=str(error))
        if isinstance(error, FilesMissingError):
            faults = [f"{path} is missing; {error.remedy}" for path in error.missing]
            return SplitCheck(published=published, images=error.images, faults=faults)
        return SplitCheck(published=published, faults=[str(error)])


def _checked(split: Split, opened: _Opened) -> SplitCheck:
    data, images = opened.data, opened.readable
    published = data.published.get(split)
    faults = [fault for image in opened.images if (fault := image if isinstance(image, str) else image.fault)]
    if published is not None and len(data) != published:
        faults.insert(0, f"{split} must have {published} images as published, but has {len(data)}; complete the folder")
    counts = sum((image.counts for image in images), np.zeros(256, np.int64))
    labelled, pixels = int(counts[:IGNORE].sum()), int(counts.sum())
    named = [(name, int(counts[index])) for index, name in enumerate(data.class_names) if labelled]
    return SplitCheck(
        published=published,
        images=len(data),
        labels=data.encoding,
        sizes=dict(Counter(image.size for image in images).most_common()),
        class_percent={name: 100 * count / labelled for name, count in named},
        unseen=[name for name, count in named if not count],
        ignored_percent=100 * int(counts[IGNORE]) / pixels if pixels else None,
        faults=faults,
        notes=[*data.notes, *_notes(data, images)],
    )


def _read(data: FileDataset) -> list[_Image | str]:
    """What was read of every image; why, where its file or its label's cannot be."""
    # threads, because decoding leaves Python's lock
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return list(readers.map(lambda index: _read_image(data, index), range(len(data))))


def _read_image(data: FileDataset, index: int) -> _Image | str:
    try:
        image, stored = data.image(index), data.stored(index)
    except ValueError as error:
        return str(error)
    fault, counts = None, np.zeros(256, np.int64)
    try:
        counts = np.bincount(data.combined(index, image, stored)[1].ravel(), minlength=256)
    except ValueError as error:
        fault = str(error)
    return _Image(
        name=data.image_name(index),
        size=f"{image.shape[0]} x {image.shape[1]}",
        checksum=hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() + str(image.shape),
        turned=orientation(data.pairs[index].image) != 1,
        values={} if stored is None or stored.coloured else _counted(stored),
        colours={unpacked(c): n for c, n in _counted(stored).items()} if stored is not None and stored.coloured else {},
        counts=counts,
        fault=fault,
    )


def _counted(stored: Stored) -> dict[int, int]:
    """Pixels by value or code."""
    if stored.pixels.dtype == np.uint8:
        counts = np.bincount(stored.pixels.ravel())
        return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}
    values, counts = np.unique(stored.pixels, return_counts=True)
    return dict(zip(values[:MAX_COLOURS].tolist(), counts[:MAX_COLOURS].tolist(), strict=True))


def _notes(data: FileDataset, images: Sequence[_Image]) -> Iterator[str]:
    """What is odd within a split."""
    if guess := likely_meaning(_seen(data, images)):
        yield guess
    twins = _by_content(images)
    if same := [names for names in twins.values() if len(names) > 1]:
        yield (
            f"every image should be there once, but {sum(map(len, same))} have the pixels of another one, first "
            f"{same[0][0]} and {same[0][1]}; take the copies out"
        )
    if turned := [image.name for image in images if image.turned]:
        yield (
            f"the headers of {len(turned)} images say that these are to be turned (EXIF), first {turned[0]}; look "
            "whether image and label agree: kdstudy data check ... --sheet FILE.png"
        )


def _seen(data: FileDataset, images: Iterable[_Image]) -> Seen:
    values, colours = Counter[int](), Counter[tuple[int, int, int]]()
    for image in images:
        values.update(image.values)
        colours.update(image.colours)
    return Seen(
        names=data.class_names,
        values=values,
        colours=colours,
        known_values=data.values,
        known_colours=data.colours,
    )


def _by_content(images: Iterable[_Image]) -> dict[str, list[str]]:
    """Names of images by a checksum of their pixels."""
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(image.checksum, []).append(image.name)
    return found


def _shared_images(opened: Mapping[Split, _Opened]) -> Iterator[str]:
    """Images that are in two splits."""
    contents = {split: _by_content(found.readable) for split, found in opened.items()}
    for one, other in combinations(contents, 2):
        if both := [checksum for checksum in contents[one] if checksum in contents[other]]:
            first, second = contents[one][both[0]][0], contents[other][both[0]][0]
            yield (
                f"no image should be in two splits, but {len(both)} are in {one} and in {other}, first {first} and "
                f"{second}; take them out of one of the two"
            )


def _sheet(opened: Mapping[Split, _Opened]) -> Array | None:
    """A contact sheet of some images of every split that can be read."""
    panels = [panel for split, found in opened.items() for panel in _panels(split, found)]
    return draw(next(iter(opened.values())).data, panels) if panels else None


def _panels(split: Split, opened: _Opened) -> Iterator[Panel]:
    whole = [
        (index, image)
        for index, image in enumerate(opened.images)
        if not isinstance(image, str) and image.fault is None
    ]
    for place in chosen([image.counts for _, image in whole], SHEET_IMAGES):
        index, image = whole[place]
        data = opened.data
        yield Panel(f"{split}: {image.name}", *data.combined(index, data.image(index), data.stored(index)))

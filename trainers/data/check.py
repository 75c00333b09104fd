"""A dataset on disk held against what was published: counts, every file, label values; and how frequent classes are.

Every fault is kept, each with its file. The files of a split are read once none of them is missing.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from trainers.data import IGNORE, Split
from trainers.data.files import FileDataset, FilesMissingError, SplitMissingError

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """One split.

    Attributes:
        published: number of images that it should have.
        images: number that it has; None where it cannot be opened.
        labels: the kind of label files that were found, where there are several.
        class_percent: share of each class in the labelled pixels; empty where there are none.
        ignored_percent: share of the pixels that count for nothing.
        faults: what is wrong, one line each.
        absent: why a test split, which training does not need, is not there at all.
    """

    published: int
    images: int | None = None
    labels: str | None = None
    class_percent: dict[str, float] = field(default_factory=dict)
    ignored_percent: float | None = None
    faults: list[str] = field(default_factory=list)
    absent: str | None = None


def check(dataset: type[FileDataset], config: Any) -> dict[Split, SplitCheck]:
    """Check every split; reads all images and labels, on all cores."""
    return {split: _check_split(dataset, config, split) for split in get_args(Split)}


def _check_split(dataset: type[FileDataset], config: Any, split: Split) -> SplitCheck:
    published = dataset.published[split]
    try:
        data = dataset(config, split)  # type: ignore[arg-type]  # every dataset's own takes these two
    except ValueError as error:
        if split == "test" and isinstance(error, SplitMissingError):
            return SplitCheck(published=published, absent=str(error))
        if isinstance(error, FilesMissingError):
            faults = [f"{path} is missing; complete the folder" for path in error.missing]
            return SplitCheck(published=published, images=error.images, faults=faults)
        return SplitCheck(published=published, faults=[str(error)])
    counts, faults = _read(data)
    if len(data) != published:
        faults.insert(0, f"{split} must have {published} images as published, but has {len(data)}; complete the folder")
    labelled, pixels = int(counts[:IGNORE].sum()), int(counts.sum())
    return SplitCheck(
        published=published,
        images=len(data),
        labels=data.encoding,
        class_percent={
            name: 100 * int(counts[index]) / labelled for index, name in enumerate(data.class_names) if labelled
        },
        ignored_percent=100 * int(counts[IGNORE]) / pixels if pixels else None,
        faults=faults,
    )


def _read(data: FileDataset) -> tuple[Counts, list[str]]:
    """Pixels of every value, summed over the split, and what is wrong with its files."""

    def counts(index: int) -> Counts | str:
        try:
            return np.bincount(data.load(index)[1].ravel(), minlength=256)
        except ValueError as error:
            return str(error)

    # threads, because decoding leaves Python's lock
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        found = list(readers.map(counts, range(len(data))))
    total = sum((part for part in found if not isinstance(part, str)), np.zeros(256, np.int64))
    return total, [part for part in found if isinstance(part, str)]

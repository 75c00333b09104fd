"""The dataset of a study: is it there, is it what it is called, and do crops and batches fit its images?

Not every file is read, which `kdstudy data check` does: a few images of each split, and so many labels that every
class should have been met.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import StudyConfig
from trainers.config import AugmentConfig
from trainers.data import Array, SegmentationDataset
from trainers.data.classes import classes_of
from trainers.data.files import OWN_DATA, FileDataset
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images, training_images
from trainers.registry import module_of

IMAGES = 6
"""Images of a split that are read."""
LABELS = 64
"""Labels of the training split that are read at most, where classes are still to be met."""
FILLED, HARDLY_FILLED = 0.5, 0.25
"""Shares of a crop that an image should fill, on the mean over its scales, and must."""
SCALES = 33


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a few images of a dataset are.

    Attributes:
        sizes: height and width of each that was read.
        classes: that occur in the labels that were read.
        labels: how many these were.
        whole: whether that is every training label.
        findings: what is wrong with the files.
    """

    sizes: Sequence[tuple[int, int]]
    classes: frozenset[int]
    labels: int
    whole: bool
    findings: tuple[Finding, ...] = ()


class Splits(NamedTuple):
    """The images of a study; None for what cannot be opened.

    Attributes:
        train: the dataset's training split.
        val: its validation split, against which a teacher is always held.
        trained: what trials are trained on.
        judged: what they are judged on.
        findings: why something cannot be opened.
    """

    train: SegmentationDataset | None = None
    val: SegmentationDataset | None = None
    trained: SegmentationDataset | None = None
    judged: SegmentationDataset | None = None
    findings: tuple[Finding, ...] = ()


def open_splits(config: StudyConfig) -> Splits:
    """Open the images that a study trains and judges on."""
    dataset = module_of(config.data).Dataset
    try:
        train, val = dataset(config.data, "train"), dataset(config.data, "val")
    except ValueError as error:
        return Splits(findings=(fault(f"data: {error}"),))
    try:
        trained = training_images(config.data, holdout=config.holdout)
        return Splits(train, val, trained, judging_images(config.data, config.evaluate_on, holdout=config.holdout))
    except ValueError as error:
        return Splits(train, val, findings=(fault(f"evaluate_on: {error}"),))


def read_sample(train: SegmentationDataset, val: SegmentationDataset) -> Sample:
    """Read some images of both splits, and training labels until every class was met."""
    every = frozenset(range(len(train.class_names)))
    if not isinstance(train, FileDataset):
        return Sample(sizes=[_size(train.load(0)[1])], classes=every, labels=0, whole=True)  # drawn as they shall be
    read = _Reader()
    for data in (train, val):
        read.some(data, spread(len(data), IMAGES))
    for index in spread(len(train), LABELS):
        if read.findings or read.classes >= every:
            break
        read.some(train, [index])
    return Sample(
        sizes=read.sizes,
        classes=frozenset(read.classes & every),
        labels=len(read.labels),
        whole=len(spread(len(train), LABELS)) == len(train),
        findings=tuple(read.findings),
    )


class _Reader:
    """What was read so far."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.classes: set[int] = set()
        self.labels: set[tuple[int, int]] = set()
        self.findings: list[Finding] = []

    def some(self, data: SegmentationDataset, indices: Iterable[int]) -> None:
        for index in indices:
            try:
                label = data.load(index)[1]
            except ValueError as error:
                self.findings.append(fault(f"data: {error}"))
                continue
            self.sizes.append(_size(label))
            self.classes.update(np.unique(label).tolist())
            self.labels.add((id(data), index))


def _size(label: Array) -> tuple[int, int]:
    return label.shape[0], label.shape[1]


def spread(length: int, count: int) -> list[int]:
    """At most `count` indices below `length`, evenly spread."""
    return sorted({round(position) for position in np.linspace(0, length - 1, min(length, count))})


def check_sample(sample: Sample, data: Any) -> Iterable[Finding]:
    """The files that were read are whole, and hold the dataset's classes."""
    yield from sample.findings
    names = classes_of(data).names
    if sample.findings or len(sample.classes) == len(names):
        return
    found = ", ".join(names[index] for index in sorted(sample.classes)) or "none"
    law = f"of its {len(names)} the {sample.labels} that were read hold {len(sample.classes)} ({found})"
    if 2 * len(sample.classes) < len(names):
        if getattr(module_of(data).Dataset, "published", None):
            yield fault(
                f"data: labels must hold the classes of {data.name}, but {law}; a set of other classes is {OWN_DATA}; "
                "else complete the labels"
            )
        else:  # whose classes are a person's own, however rare they are
            yield warning(f"data: labels should hold the classes of {data.name}, but {law}; look: kdstudy data check")
    elif sample.whole:
        lost = ", ".join(name for index, name in enumerate(names) if index not in sample.classes)
        yield warning(
            f"data: the training labels should hold every class of {data.name}, but hold no {lost}; their IoU will be "
            "0 wherever they are judged"
        )


def check_apart(splits: Splits) -> Iterable[Finding]:
    """No image judges that was trained on."""
    train, judged = splits.trained, splits.judged
    if not (isinstance(train, FileDataset) and isinstance(judged, FileDataset)):
        return
    seen = {pair.image for pair in train.pairs}
    if both := [pair.image for pair in judged.pairs if pair.image in seen]:
        yield warning(
            f"data: images that judge should not be trained on, but {len(both)} of {len(judged)} are, {both[0]} the "
            "first; take them out of the list of one of the two splits"
        )


def check_groups(splits: Splits, pattern: str | None) -> Iterable[Finding]:
    """The images that judge can be grouped as the study says."""
    try:
        if splits.judged:
            image_groups(splits.judged, pattern)
    except ValueError as error:
        yield fault(f"groups: {error}")


def check_crop(augment: AugmentConfig, sizes: Sequence[tuple[int, int]]) -> Iterable[Finding]:
    """A crop is filled by an image, and the scales are in order."""
    if augment.scale[0] > augment.scale[1]:
        yield fault(f"augment.scale: the lowest factor must come first, but got {list(augment.scale)}")
        return
    if not sizes:  # no file could be read, which the sample's own findings say
        return
    share = max(_filled(augment, size) for size in sizes)
    if share < FILLED:
        largest = max(sizes)
        found = warning if share >= HARDLY_FILLED else fault
        law = "should" if share >= HARDLY_FILLED else "must"
        yield found(
            f"augment.crop {law} be filled by an image, but got crop={list(augment.crop)} for images of up to "
            f"{largest[0]} x {largest[1]} at scales {list(augment.scale)}: {100 - 100 * share:.0f} % of a sample would "
            "be padding; lower it, or raise the scales"
        )


def _filled(augment: AugmentConfig, size: tuple[int, int]) -> float:
    """The share of a crop that an image of this size fills, on the mean over its scales."""
    scales = np.linspace(*augment.scale, SCALES)
    height, width = (np.minimum(1, side * scales / crop) for side, crop in zip(size, augment.crop, strict=True))
    return float(np.mean(height * width))

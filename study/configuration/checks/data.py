"""The dataset of a study: is it there, is it what it is called, and do crops and batches fit its images?

Not every file is read, which `kdstudy data check` does: a few images of each split, and so many labels that every
class should have been met.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import StudyConfig
from trainers.config import AugmentConfig
from trainers.data import IGNORE, SegmentationDataset
from trainers.data.files import FileDataset
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


def check_splits(config: StudyConfig) -> Iterable[Finding]:
    """Both splits can be opened, and those that the study trains and judges on."""
    # a teacher is always held against the validation split
    for split in ("train", "val"):
        try:
            module_of(config.data).Dataset(config.data, split)
        except ValueError as error:
            yield fault(f"data: {error}")
            return
    try:
        training_images(config.data, holdout=config.holdout)
        judging_images(config.data, config.evaluate_on, holdout=config.holdout)
    except ValueError as error:
        yield fault(f"evaluate_on: {error}")


def sampled(config: Any) -> Sample | None:
    """Look at some images of a dataset's configuration; None where it cannot be opened."""
    dataset = module_of(config).Dataset
    try:
        train, val = dataset(config, "train"), dataset(config, "val")
    except ValueError:
        return None
    if not isinstance(train, FileDataset):
        return Sample(sizes=[train.load(0)[1].shape], classes=frozenset(range(len(train.class_names))), labels=0, whole=True)
    return _read(train, val)


def _read(train: FileDataset, val: FileDataset) -> Sample:
    sizes: list[tuple[int, int]] = []
    classes: set[int] = set()
    findings: list[Finding] = []
    for data in (train, val):
        for index in spread(len(data), IMAGES):
            try:
                label = data.load(index)[1]
            except ValueError as error:
                findings.append(fault(f"data: {error}"))
                continue
            sizes.append((label.shape[0], label.shape[1]))
            classes.update(np.unique(label).tolist())
    indices = spread(len(train), LABELS)
    read = 0
    for index in indices if not findings else ():
        if len(classes - {IGNORE}) == len(train.class_names):
            break
        try:
            classes.update(np.unique(train.load(index)[1]).tolist())
        except ValueError as error:
            findings.append(fault(f"data: {error}"))
            break
        read += 1
    return Sample(
        sizes=sizes,
        classes=frozenset(classes - {IGNORE}),
        labels=max(read, len(sizes)),
        whole=read == len(train),
        findings=tuple(findings),
    )


def spread(length: int, count: int) -> list[int]:
    """At most `count` indices below `length`, evenly spread."""
    return sorted({round(position) for position in np.linspace(0, length - 1, min(length, count))})


def check_sample(sample: Sample, data: Any) -> Iterable[Finding]:
    """The files that were read are whole, and hold the dataset's classes."""
    yield from sample.findings
    names = module_of(data).Dataset.class_names
    if sample.findings or len(sample.classes) == len(names):
        return
    found = ", ".join(names[index] for index in sorted(sample.classes)) or "none"
    if 2 * len(sample.classes) < len(names):
        yield fault(
            f"data: labels must hold the classes of {data.name}, but of its {len(names)} the {sample.labels} that were "
            f"read hold {len(sample.classes)} ({found}); a set of other classes needs a dataset of its own beside "
            f"trainers/data/{data.name}.py, else complete the labels"
        )
    elif sample.whole:
        lost = ", ".join(name for index, name in enumerate(names) if index not in sample.classes)
        yield warning(
            f"data: the training labels should hold every class of {data.name}, but hold no {lost}; their IoU will be 0 "
            "wherever they are judged"
        )


def check_apart(config: StudyConfig) -> Iterable[Finding]:
    """No image judges that was trained on."""
    train, judged = training_images(config.data, holdout=config.holdout), judging_images(
        config.data, config.evaluate_on, holdout=config.holdout
    )
    if not (isinstance(train, FileDataset) and isinstance(judged, FileDataset)):
        return
    seen = {pair.image for pair in train.pairs}
    if both := [pair.image for pair in judged.pairs if pair.image in seen]:
        yield warning(
            f"data: images that judge should not be trained on, but {len(both)} of {len(judged)} are, {both[0]} the "
            f"first; take them out of the list of one of the two splits"
        )


def check_crop(augment: AugmentConfig, sizes: Sequence[tuple[int, int]]) -> Iterable[Finding]:
    """A crop is filled by an image, and the scales are in order."""
    if augment.scale[0] > augment.scale[1]:
        yield fault(f"augment.scale: the lowest factor must come first, but got {list(augment.scale)}")
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

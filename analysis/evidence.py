"""What every image counted, from the table `image_confusion` to dense arrays that statistics can resample.

A class that is neither labelled nor predicted in an image has no row there and counts nothing. Only the trials that are
asked for are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis import statistics
from analysis.studies import Study

Evaluation = Literal["last", "best"]
KINDS = ("true_positives", "false_positives", "false_negatives")
KEY = ("arm", "trial", "evaluation")


@dataclass(frozen=True, order=True)
class TrialName:
    """A trial of a study: `rdd-8` is trial 8 of the arm `rdd`."""

    arm: str
    number: int

    def __str__(self) -> str:
        return f"{self.arm}-{self.number}"


@dataclass(frozen=True)
class ImageCounts:
    """Counts of some trials' evaluations on the same images.

    Attributes:
        trials: those that have counts, in the order in which they were asked for.
        missing: those that were asked for and have none.
        images: names, sorted.
        classes: names, in the dataset's order.
        counts: int64 [trials, images, classes, 3].
    """

    trials: tuple[TrialName, ...]
    missing: tuple[TrialName, ...]
    images: tuple[str, ...]
    classes: tuple[str, ...]
    counts: statistics.Counts


def image_counts(study: Study, trials: Sequence[TrialName], evaluation: Evaluation = "last") -> ImageCounts:
    """What each image counted in these trials' last or best evaluation.

    Raises:
        ValueError: trials were evaluated on different images.
    """
    rows = _rows(study, trials, evaluation)
    keys = {TrialName(arm, number) for arm, number in _unique(rows, ["arm", "trial"])}
    there = [trial for trial in dict.fromkeys(trials) if trial in keys]
    classes = class_names(study)
    images = sorted(pc.unique(rows["image"]).to_pylist())
    of_trial = {(trial.arm, trial.number): index for index, trial in enumerate(there)}
    pairs = rows.select(["arm", "trial"])
    places = (
        _positions(_joined(pairs), pa.array([f"{arm}/{number}" for arm, number in of_trial])),
        _positions(rows["image"], pa.array(images, pa.string())),
        _positions(rows["class"], pa.array(classes, pa.string())),
    )
    counts = np.zeros((len(there), len(images), len(classes), 3), np.int64)
    for kind, name in enumerate(KINDS):
        counts[(*places, kind)] = rows[name].to_numpy()
    _check_images(study, there, images, counts)
    return ImageCounts(
        tuple(there), tuple(t for t in dict.fromkeys(trials) if t not in keys), tuple(images), classes, counts
    )


def class_names(study: Study) -> tuple[str, ...]:
    """The dataset's classes in its order, as every evaluation lists them all.

    Raises:
        ValueError: the study has no evaluation.
    """
    try:
        listed = study.table("class_iou", columns=["class"])["class"]
    except FileNotFoundError as missing:
        raise ValueError(f"a study must have an evaluation to compare, but {missing}; wait for one") from None
    return tuple(pc.unique(listed).to_pylist())


def _rows(study: Study, trials: Sequence[TrialName], evaluation: Evaluation) -> pa.Table:
    numbers: dict[str, list[int]] = {}
    for trial in trials:
        numbers.setdefault(trial.arm, []).append(trial.number)
    arms = [(pc.field("arm") == arm) & pc.field("trial").isin(found) for arm, found in numbers.items()]
    where = (pc.field("evaluation") == evaluation) & reduce(or_, arms, pc.scalar(False))
    try:
        return study.table("image_confusion", columns=[*KEY, "image", "class", *KINDS], where=where)
    except FileNotFoundError:
        return pa.table({**{name: [] for name in (*KEY, "image", "class")}, **{name: [] for name in KINDS}}).cast(
            pa.schema(
                [(name, pa.int64() if name == "trial" else pa.string()) for name in (*KEY, "image", "class")]
                + [(name, pa.int64()) for name in KINDS]
            )
        )


def _unique(rows: pa.Table, columns: list[str]) -> list[tuple[str, int]]:
    found = rows.group_by(columns).aggregate([])
    return list(zip(*(found[column].to_pylist() for column in columns), strict=True))


def _joined(pairs: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pairs["arm"], pc.cast(pairs["trial"], pa.string()), "/")


def _positions(values: pa.ChunkedArray, known: pa.Array) -> np.ndarray:
    return np.asarray(pc.index_in(values, known).to_numpy())


def _check_images(study: Study, trials: list[TrialName], images: list[str], counts: statistics.Counts) -> None:
    """Every image has labels, so a trial without rows for one was not evaluated on it."""
    seen = counts.sum((2, 3)) > 0
    for trial, row in zip(trials, seen, strict=True):
        if not row.all():
            lacking = images[int(np.argmin(row))]
            raise ValueError(
                f"trials must have been evaluated on the same images to be compared, but {trial} in {study.folder} "
                f"has {int(row.sum())} of {len(images)} and lacks {lacking!r}; compare trials of one data configuration"
            )

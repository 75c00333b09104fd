"""What every image counted, from tables to dense arrays that statistics can resample.

A class that is neither labelled nor predicted in an image has no row there and counts nothing. Only the trials that are
asked for are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.studies.study import Evaluation, Study
from study.tables import IMAGE_CONFUSION

if TYPE_CHECKING:  # it brings SciPy, which `kdstudy best` does without
    from analysis.statistics import Counts

KINDS = ("true_positives", "false_positives", "false_negatives")
NAME = "image_confusion"
COLUMNS = ["arm", "trial", "image", "class", *KINDS]
RESCORED = "rescored_confusion"


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
    counts: "Counts"

    def only(self, trials: Sequence[TrialName]) -> "ImageCounts":
        """The counts of some of the trials, in their order."""
        places = {trial: place for place, trial in enumerate(self.trials)}
        return replace(self, trials=tuple(trials), counts=self.counts[[places[trial] for trial in trials]])


def image_counts(study: Study, trials: Sequence[TrialName], evaluation: Evaluation = "last") -> ImageCounts:
    """What each image counted in these trials' last or best evaluation.

    Raises:
        ValueError: trials were evaluated on different images.
    """
    return _dense(study, trials, _rows(study, NAME, trials, pc.field("evaluation") == evaluation))


def rescored_counts(study: Study, trials: Sequence[TrialName], split: str) -> ImageCounts:
    """What each image of another split counted when these trials' checkpoints were judged on it.

    Raises:
        ValueError: trials were judged on different images.
    """
    return _dense(study, trials, _rows(study, RESCORED, trials, pc.field("split") == split))


def _dense(study: Study, trials: Sequence[TrialName], rows: pa.Table) -> ImageCounts:
    found = rows.group_by(["arm", "trial"]).aggregate([])
    keys = {TrialName(*key) for key in zip(found["arm"].to_pylist(), found["trial"].to_pylist(), strict=True)}
    asked = tuple(dict.fromkeys(trials))
    there = tuple(trial for trial in asked if trial in keys)
    images = tuple(sorted(pc.unique(rows["image"]).to_pylist()))
    classes = _class_names(study, there[0]) if there else ()
    trial = _places(_names(rows), [str(name) for name in there])
    image, class_ = _places(rows["image"], images), _places(rows["class"], classes)
    counts = np.zeros((len(there), len(images), len(classes), 3), np.int64)
    for kind, name in enumerate(KINDS):
        counts[trial, image, class_, kind] = rows[name].to_numpy()
    _check_images(study, there, images, counts)
    return ImageCounts(there, tuple(trial for trial in asked if trial not in keys), images, classes, counts)


def _class_names(study: Study, trial: TrialName) -> tuple[str, ...]:
    """The dataset's classes in its order, as every evaluation lists them all."""
    mine = (pc.field("arm") == trial.arm) & (pc.field("trial") == trial.number)
    try:
        listed = study.table("class_iou", columns=["arm", "trial", "class"], where=mine)["class"]
    except FileNotFoundError:  # none of it can be read
        return tuple(study.classes)
    return tuple(pc.unique(listed).to_pylist()) or tuple(study.classes)


def _places(names: pa.ChunkedArray, known: Sequence[str]) -> NDArray[np.int64]:
    """Which of the known names each is."""
    return np.asarray(pc.index_in(names, pa.array(known, pa.string())).to_numpy(), np.int64)


def _rows(study: Study, table: str, trials: Sequence[TrialName], which: pc.Expression) -> pa.Table:
    # one condition a column can be held against what a file says of its columns; pairs cannot
    arms = pa.array(sorted({trial.arm for trial in trials}), pa.string())
    numbers = pa.array(sorted({trial.number for trial in trials}), pa.int64())
    near = pc.field("arm").isin(arms) & pc.field("trial").isin(numbers)
    try:
        rows = study.table(table, columns=COLUMNS, where=near & which)
    except FileNotFoundError:
        return IMAGE_CONFUSION.empty_table().select(COLUMNS)
    return rows.filter(pc.is_in(_names(rows), pa.array([str(trial) for trial in trials], pa.string())))


def _names(rows: pa.Table) -> pa.ChunkedArray:
    """The trial of each row, as `TrialName` writes it."""
    return pc.binary_join_element_wise(rows["arm"], pc.cast(rows["trial"], pa.string()), "-")


def _check_images(study: Study, trials: Sequence[TrialName], images: Sequence[str], counts: "Counts") -> None:
    """Every image has labels, so a trial without rows for one was not evaluated on it."""
    seen = counts.sum((2, 3)) > 0
    for trial, row in zip(trials, seen, strict=True):
        if not row.all():
            lacking = images[int(np.argmin(row))]
            raise ValueError(
                f"trials must have been evaluated on the same images to be compared, but {trial} in {study.folder} "
                f"has {int(row.sum())} of {len(images)} and lacks {lacking!r}; compare trials of one data configuration"
            )

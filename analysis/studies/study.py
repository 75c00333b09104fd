"""A study as analysis sees it: its configuration as plain values and its tables, whatever state it is in.

Nothing here decides what is good. A study may be running, finished or killed, and may have been written by an older
kdstudy: a column that its tables lack is there, empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies.unequal_terms import unequal_terms
from study import tables
from study.saved import SavedClass, SavedStudy, TeacherNote, read_saved
from study.tables import PARAMETER as PARAMETER

TEACHER = "teacher"
"""The arm whose one trial trained the teacher."""
Evaluation = Literal["last", "best"]
"""Which evaluation of a run."""
EvaluationKey = tuple[str, int, int]
"""Arm, trial and iteration."""


@dataclass(frozen=True)
class Study:
    """One study's folder.

    Attributes:
        folder: where it lies.
        config: `study.json`, as plain values.
    """

    folder: Path
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def dataset(self) -> str:
        return str(self.config["data"]["name"])

    @property
    def objective(self) -> str:
        """The column of `trials` that the search maximised."""
        return f"{self.evaluation}_miou_percent"

    @property
    def split(self) -> str:
        """The images that its trials were judged on."""
        return str(self.config.get("evaluate_on", "val"))

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation of a run by which the search judged it."""
        return "best" if self.config.get("objective") == "best" else "last"

    @property
    def baseline(self) -> str | None:
        """The arm named `baseline`, else the first without methods whose task loss is uniform, else None."""
        arms: Mapping[str, Mapping[str, Any]] = self.config.get("arms", {})
        plain = (
            name
            for name, arm in arms.items()
            if not arm.get("methods") and arm.get("task", {}).get("weighting", "uniform") == "uniform"
        )
        return "baseline" if "baseline" in arms else next(plain, None)

    def first_search(self, arm: str) -> str:
        """The arm that this one searches again with another sampler seed; the arm itself where it is the first.

        In a study of replicates, whose arms repeat what searches found: the arm that repeats what the first one found.
        """
        arms: Mapping[str, Mapping[str, Any]] = self.config.get("arms", {})
        sources: Mapping[str, Mapping[str, Any]] = self.config.get("replicates", {})
        if (source := sources.get(arm, {}).get("search_of")) is not None:
            return next((name for name, one in sources.items() if one["arm"] == source), arm)
        return arms.get(arm, {}).get("search_of") or arm

    @property
    def table_names(self) -> list[str]:
        """The tables that the study has so far."""
        place = self.folder / "tables"
        return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []

    @cached_property
    def teacher(self) -> Mapping[str, Any] | None:
        """{"miou_percent": or None, "path"}, or None where no arm needed one so far."""
        note = self.folder / "teacher.json"
        return read_saved(note, TeacherNote) if note.exists() else None

    @cached_property
    def classes(self) -> Mapping[str, tuple[int, int, int]]:
        """Names and RGB colours of the dataset's classes; none in a study of an older kdstudy."""
        note = self.folder / "classes.json"
        return {one["name"]: one["rgb"] for one in read_saved(note, list[SavedClass])} if note.is_file() else {}

    @cached_property
    def unequal_terms(self) -> tuple[str, ...]:
        """What its arms differ in besides what they search, by the study's own word; a sentence each."""
        return unequal_terms(self.config)

    @cached_property
    def gaps(self) -> tuple[str, ...]:
        """What its tables lack because something was damaged or lost, in sentences."""
        return tuple(tables.gaps(self.folder / "tables"))

    @cached_property
    def trials(self) -> pa.Table:
        """Every ended trial but the teacher's, in the columns of `tables.trials_schema`."""
        return self.ended.filter(pc.field("arm") != TEACHER)

    @cached_property
    def ended(self) -> pa.Table:
        """Every ended trial, the teacher's too."""
        try:
            return tables.read(self.folder / "tables", "trials")
        except FileNotFoundError as missing:
            raise ValueError(f"{_none(self.folder)} ({missing})") from None

    def table(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Rows of a table; only those for which `where` holds. See `tables.read`."""
        return tables.read(self.folder / "tables", name, columns, where)

    def class_ious(self, evaluations: Iterable[EvaluationKey]) -> dict[EvaluationKey, dict[str, float | None]]:
        """IoU in percent of each class at some evaluations; no classes where the table does not have one."""
        found: dict[EvaluationKey, dict[str, float | None]] = {evaluation: {} for evaluation in evaluations}
        if not found:
            return found
        # one condition a column: a part's ranges are held against each in no time, but not against many pairs
        arms, trials, iterations = map(set, zip(*found, strict=True))
        near = pc.field("arm").isin(arms) & pc.field("trial").isin(trials) & pc.field("iteration").isin(iterations)
        try:
            rows = self.table("class_iou", where=near).to_pylist()
        except FileNotFoundError:  # none was written yet, or none can be read
            return found
        for row in rows:
            evaluation = (row["arm"], row["trial"], row["iteration"])
            if evaluation in found:
                found[evaluation][row["class"]] = row["iou_percent"]
        return found


def study_at(folder: Path) -> Study:
    """The study in a folder, even before the first of its trials has ended.

    Raises:
        ValueError: there is none.
    """
    held = folder / "study.json"
    if not held.is_file():
        raise ValueError(f"DIR must be a study's folder, but {folder} holds no study.json; start one with kdstudy run")
    return Study(folder, read_saved(held, SavedStudy))


def open_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        ValueError: there is none, or no trial of it has ended.
    """
    study = study_at(folder)
    if not study.ended.num_rows:
        raise ValueError(_none(folder))
    return study


def open_studies(folders: Sequence[Path]) -> list[Study]:
    """Studies to look at together.

    Raises:
        ValueError: one is none, or they are of different datasets.
    """
    studies = [open_study(folder) for folder in folders]
    check_one_dataset(studies)
    return studies


def check_one_dataset(studies: Sequence[Study]) -> None:
    """Refuse to look at studies of several datasets together.

    Raises:
        ValueError: they are.
    """
    by_dataset = {study.dataset: study.folder for study in studies}
    if len(by_dataset) > 1:
        told = ", ".join(f"{name} ({folder})" for name, folder in by_dataset.items())
        raise ValueError(f"studies must be of one dataset to be compared, but got {told}; look at them one by one")


def _none(folder: Path) -> str:
    return f"a study must have a trial to tell of, but no trial has ended yet in {folder}; wait for one"

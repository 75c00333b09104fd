"""What the sections of a report read of a study, each thing once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.comparison import ClassIoU
from analysis.figures.training import Trial
from analysis.studies import TEACHER, Study
from analysis.style import OKABE_ITO, TEACHER_GREY, arm_colours, rgb


@dataclass(frozen=True)
class Source:
    """A study with what several sections ask of it."""

    study: Study

    @cached_property
    def arms(self) -> list[str]:
        """The arms that have an ended trial, as the study lists them."""
        there = set(self.study.trials["arm"].to_pylist())
        listed = [arm for arm in self.study.config.get("arms", {}) if arm in there]
        return listed + sorted(there - set(listed))

    @cached_property
    def colours(self) -> Mapping[str, str]:
        return {**arm_colours(self.arms), TEACHER: TEACHER_GREY}

    @property
    def arm_colours(self) -> Mapping[str, str]:
        return {arm: self.colours[arm] for arm in self.arms}

    @property
    def objective(self) -> str:
        return self.study.objective

    def ranked(self, arm: str) -> pa.Table:
        """The finished trials of an arm, the best first."""
        finished = self.study.trials.filter((pc.field("arm") == arm) & (pc.field("state") == "COMPLETE"))
        scored = finished.filter(pc.field(self.objective).is_valid())
        return scored.sort_by([(self.objective, "descending"), ("trial", "ascending")])

    @cached_property
    def best(self) -> Mapping[str, Mapping[str, Any]]:
        """The row of the best finished trial of each arm that has one."""
        return {arm: row for arm in self.arms for row in self.ranked(arm).slice(0, 1).to_pylist()}

    @property
    def best_trials(self) -> list[Trial]:
        return [(arm, row["trial"]) for arm, row in self.best.items()]

    @cached_property
    def reports(self) -> pa.Table:
        """Arm, trial, iteration and miou_percent of every report but the teacher's; no rows where there is no table."""
        columns = ["arm", "trial", "iteration", "miou_percent"]
        try:
            return self.study.table("reports", columns, pc.field("arm") != TEACHER)
        except FileNotFoundError:
            types = [pa.string(), pa.int64(), pa.int64(), pa.float64()]
            return pa.schema(list(zip(columns, types, strict=True))).empty_table()

    @cached_property
    def unended(self) -> list[Trial]:
        """Trials with a report that have not ended: they run, or their driver was killed."""
        seen = self.reports.select(["arm", "trial"]).group_by(["arm", "trial"]).aggregate([])
        return sorted(_trials(seen) - _trials(self.study.trials))

    @cached_property
    def class_ious(self) -> ClassIoU:
        """IoU by class of each arm's best trial at the evaluation it is ranked by, and of the teacher, by their names."""
        asked = {f"{arm} {row['trial']}": (arm, row["trial"], self._iteration(row)) for arm, row in self.best.items()}
        taught = self.study.ended.filter((pc.field("arm") == TEACHER) & (pc.field("state") == "COMPLETE"))
        for row in taught.slice(0, 1).to_pylist():
            asked[TEACHER] = (TEACHER, row["trial"], self._iteration(row))
        rows = self._class_rows(list(asked.values()))
        found = {name: {c: iou for (*where, c), iou in rows.items() if tuple(where) == key} for name, key in asked.items()}
        return {name: ious for name, ious in found.items() if ious}

    def _iteration(self, row: Mapping[str, Any]) -> int:
        return int(row["best_iteration"] if self.objective.startswith("best") else row["iterations"])

    def _class_rows(self, keys: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int, int, str], float | None]:
        if not keys:
            return {}
        names = ("arm", "trial", "iteration")
        ones = [(pc.field("arm") == a) & (pc.field("trial") == t) & (pc.field("iteration") == i) for a, t, i in keys]
        try:
            rows = self.study.table("class_iou", [*names, "class", "iou_percent"], reduce(or_, ones)).to_pylist()
        except FileNotFoundError:
            return {}
        return {(*(row[name] for name in names), row["class"]): row["iou_percent"] for row in rows}

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """The colour of each class: the dataset's where the study's folder tells it."""
        note = self.study.folder / "classes.json"
        if note.is_file():
            return {row["name"]: rgb(row["rgb"]) for row in json.loads(note.read_text())}
        names = dict.fromkeys(name for ious in self.class_ious.values() for name in ious)
        return {name: OKABE_ITO[n % len(OKABE_ITO)] for n, name in enumerate(names)}


def _trials(rows: pa.Table) -> set[Trial]:
    return set(zip(rows["arm"].to_pylist(), rows["trial"].to_pylist(), strict=True))

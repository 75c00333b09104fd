"""What the sections of a report read of a study, each thing once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.comparison import ClassIoU
from analysis.figures.style import OKABE_ITO, TEACHER_GREY, arm_colours, rgb
from analysis.figures.training import Trial
from analysis.pictures.predictions import Pictures
from analysis.studies.runs import finished, none_finished
from analysis.studies.study import TEACHER, EvaluationKey, Study
from analysis.verdict.verdict import Verdict, verdict

NO_PICTURES = "None were made."


@dataclass(frozen=True)
class Source:
    """A study with what several sections ask of it.

    Attributes:
        study: the study.
        pictures: of predictions on some images, or why there are none, as a sentence.
    """

    study: Study
    pictures: Pictures | str = NO_PICTURES

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

    @cached_property
    def verdict(self) -> Verdict | str:
        """The answer, or why there is none. That one has looked is recorded once."""
        try:
            return verdict(self.study)
        except ValueError as fault:
            return str(fault)

    def ranked(self, arm: str) -> pa.Table:
        """The finished trials of an arm, the best first."""
        return finished(self.study, arm)

    @cached_property
    def best(self) -> Mapping[str, Mapping[str, Any]]:
        """The row of the best finished trial of each arm that has one."""
        return {arm: row for arm in self.arms for row in self.ranked(arm).slice(0, 1).to_pylist()}

    @property
    def none_finished(self) -> str:
        """Why `best` has no row, as the beginning of a sentence."""
        said = none_finished(self.study, *self.arms)
        return f"{said[0].upper()}{said[1:]}"

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
        """IoU by class of the best trial of each arm, at the evaluation it is ranked by, and of the teacher."""
        asked = {f"{arm} {row['trial']}": self._evaluation(row) for arm, row in self.best.items()}
        taught = self.study.ended.filter((pc.field("arm") == TEACHER) & (pc.field("state") == "COMPLETE"))
        if taught:
            asked[TEACHER] = self._evaluation(taught.slice(0, 1).to_pylist()[0])
        found = self.study.class_ious(asked.values())
        known = {evaluation for evaluation, ious in found.items() if any(iou is not None for iou in ious.values())}
        return {name: found[evaluation] for name, evaluation in asked.items() if evaluation in known}

    def _evaluation(self, row: Mapping[str, Any]) -> EvaluationKey:
        iteration = row["best_iteration" if self.study.evaluation == "best" else "iterations"]
        return row["arm"], row["trial"], iteration

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """The colour of each class: the dataset's where the study's folder tells it."""
        if self.study.classes:
            return {name: rgb(colour) for name, colour in self.study.classes.items()}
        names = dict.fromkeys(name for ious in self.class_ious.values() for name in ious)
        return {name: OKABE_ITO[n % len(OKABE_ITO)] for n, name in enumerate(names)}


def _trials(rows: pa.Table) -> set[Trial]:
    return set(zip(rows["arm"].to_pylist(), rows["trial"].to_pylist(), strict=True))

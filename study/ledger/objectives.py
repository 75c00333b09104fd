"""What an arm's trials are valued by: the values of each, in Optuna's order, and the bounds that they should keep.

The measures of the students that can be listed are kept in the ledger when the study begins, so that a latency is the
same after every restart; any other student is counted, again after a restart, when a trial with it begins. Bounds on
them are known when a trial begins, all others when it ends.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from study.configuration.config import TEACHER, StudyConfig
from study.configuration.objectives.students import ArmStudents, MeasuredStudent
from study.measures import MIOU, OF_STUDENT, Constraint
from trainers.config import plain

STUDENTS = "students"
"""User attribute of an arm's Optuna study: what its students take, in JSON."""


def directions(objectives: Sequence[str]) -> list[StudyDirection]:
    """mIoU is to be high, all else low."""
    return [StudyDirection.MAXIMIZE if name == MIOU else StudyDirection.MINIMIZE for name in objectives]


def miou_of(trial: FrozenTrial) -> float | None:
    """The mIoU that a trial ended with, whatever else it is valued by; None where it has none."""
    return trial.values[0] if trial.values else None


def read_students(attributes: Mapping[str, Any]) -> ArmStudents | None:
    """The students among the user attributes of an arm's Optuna study; None for a study that has none."""
    text = attributes.get(STUDENTS)
    return None if text is None else ArmStudents.read(json.loads(text))


def keep_students(study: optuna.Study, students: ArmStudents) -> None:
    """Write them to the ledger."""
    study.set_user_attr(STUDENTS, json.dumps(plain(students)))


class Valuation:
    """How the trials of one arm are valued.

    Args:
        config: the study.
        arm: of it.
        study: the arm's Optuna study, which has its students.
    """

    def __init__(self, config: StudyConfig, arm: str, study: optuna.Study) -> None:
        self._config, self._arm = config, arm
        self._students = read_students(study.user_attrs)
        self.objectives = config.objectives_of(arm)
        searches = arm != TEACHER and not config.arms[arm].replicated
        self._bounds = config.search.bounds if searches else ()

    @property
    def several(self) -> bool:
        """Whether a trial has several values, so that Optuna keeps no evaluations and stops none."""
        return len(self.objectives) > 1

    def student(self, values: Mapping[str, Any]) -> MeasuredStudent | None:
        """What the student at these searched values takes; None where nobody knows."""
        return None if self._students is None else self._students.of(values)

    def begin(self, trial: optuna.Trial, values: Mapping[str, Any]) -> None:
        """Keep what is known of a trial before it is trained: its student, and how far that is beyond the bounds."""
        if self._students is None:
            return
        # one that was not listed is not written: the ledger would get all of them anew, and counts are the same again
        self._students = self._students.with_student(self._config, self._arm, values)
        if found := self.student(values):
            self._note(trial, [bound for bound in self._bounds if bound.measure in OF_STUDENT], plain(found))

    def keeps_bounds(self, trial: FrozenTrial) -> bool:
        """Whether an ended trial keeps all bounds of the search; not where a value that one needs is missing."""
        return all(trial.constraints.get(str(bound), math.inf) <= 0 for bound in self._bounds)

    def lacking(self, measured: Mapping[str, Any]) -> str | None:
        """Why a trial cannot be valued though it has an mIoU; None where it can.

        Args:
            measured: what the trials table says of it.
        """
        for name in self.objectives[1:]:
            value = measured.get(name)
            if value is None or not math.isfinite(value):
                return f"{name} must be finite to be searched, but got {value}"
        return None

    def end(self, trial: optuna.Trial, miou: float, row: Mapping[str, Any]) -> list[float]:
        """The values of a trial that used its whole budget; how far it is beyond the other bounds is kept.

        Args:
            trial: live.
            miou: that it scored, in percent.
            row: of the trials table.
        """
        measured = {**row, MIOU: miou}
        self._note(trial, [bound for bound in self._bounds if bound.measure not in OF_STUDENT], measured)
        return [float(measured[name]) for name in self.objectives]

    @staticmethod
    def _note(trial: optuna.Trial, bounds: Sequence[Constraint], measured: Mapping[str, Any]) -> None:
        for bound in bounds:
            value = measured.get(bound.measure)
            if value is not None and str(bound) not in trial.constraints:
                trial.set_constraint(str(bound), bound.excess(value))

"""The open tables of a study, and what a driver that was killed left out of them."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from study import tables
from study.configuration.config import StudyConfig
from study.execution.recording.error_file import write_error_file
from study.execution.recording.refill import Refill
from study.execution.recording.rows import (
    class_rows,
    confusion_rows,
    gradient_rows,
    mask_rows,
    report_row,
    trial_row,
    with_times,
)
from study.folder import trial_checkpoints, trial_folder
from study.ledger.ledger import ArmLedger, noted_run
from study.ledger.rungs import ROW
from study.ledger.trial_run import TrialRun
from study.tables import TableWarning, TableWriter
from study.tables.gaps import Gap, Gaps, note_gaps, noted_gaps, sentences
from trainers.checkpoints.base import DamagedError
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.store import UnreachableError


class StudyTables:
    """The open tables of a study, which only grow; rows that are there already are not written again.

    Args:
        config: the study.
        folder: the study's.
        arms: the ledger of every arm, for the columns of what they search.
    """

    def __init__(self, config: StudyConfig, folder: Path, arms: Mapping[str, ArmLedger]) -> None:
        self._config, self._folder, self._place = config, folder, folder / "tables"
        self._trials = TableWriter(self._place, tables.trials_schema(parameter_types(arms)))
        self._reports = TableWriter(self._place, tables.REPORTS)
        self._class_iou = TableWriter(self._place, tables.CLASS_IOU)
        self._mask_shares = TableWriter(self._place, tables.MASK_SHARES)
        self._gradients = TableWriter(self._place, tables.GRADIENTS)
        self._image_confusion = TableWriter(self._place, tables.IMAGE_CONFUSION)
        self._environment = TableWriter(self._place, tables.ENVIRONMENT)
        self._known_damage = {writer: len(writer.damage) for writer in self._writers()}
        counted = {"reports": self._reports, "class_iou": self._class_iou}
        self._refill = Refill(counted, self._record, config.objective_metric)

    def _writers(self) -> list[TableWriter]:
        return [table for table in vars(self).values() if isinstance(table, TableWriter)]

    def add_start(self, row: Mapping[str, Any]) -> None:
        """Write the row of the environment table for this start of the driver."""
        self._environment.append([row])

    def add_report(self, run: TrialRun, result: Mapping[str, Any]) -> bool:
        """Write an evaluation that a trial reported just now, with its classes, masks and gradients.

        Returns:
            Whether it was not there yet.
        """
        key = {"arm": run.arm, "trial": run.number, "iteration": int(result["iteration"])}
        is_new = not self._reports.contains(tuple(key.values()))
        self._record(report_row(key, run.attempt, result, time=datetime.now(UTC)), result)
        return is_new

    def _record(self, row: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        key = {name: row[name] for name in ("arm", "trial", "iteration")}
        # first what nobody counts: a driver that is killed in between leaves a report to put back, and these with it
        self._mask_shares.append(mask_rows(key, result))
        self._gradients.append(gradient_rows(key, result))
        self._reports.append([row])
        self._class_iou.append(class_rows(key, result, self._config.class_names))

    def add_trial(self, row: Mapping[str, Any], checkpoint: str | None) -> str | None:
        """Write a trial that ended, and what each image counted in its last and best evaluation.

        Args:
            row: of the trials table, as `trial_row` builds it.
            checkpoint: the trial's last, a folder or a URL; None where it has none.

        Returns:
            What kept the counts from being written, None where nothing did.
        """
        self._trials.append([with_times(row)])
        return self._add_counts(row, checkpoint) if checkpoint else None

    def complete(self, arms: Mapping[str, ArmLedger]) -> list[str]:
        """Write what the ledger knows and is not yet here; says what is lacking then, in sentences.

        A driver may have been killed between the two, and tables may have been damaged.
        """
        found = [gap for name, arm in arms.items() for gap in self._complete_arm(name, arm)]
        # a row that was put back is there from now on, and still not whole
        kept = [gap for gap in self._noted().rows if gap.kept and gap not in found]
        return sentences(self._note([*kept, *found]))

    def _note(self, rows: Sequence[Gap]) -> Gaps:
        """Write down which rows are lacking, and what was damaged of tables whose rows cannot be counted."""
        before = self._noted()
        lost = [*self._uncounted_damage, *self._environment.damage]
        gaps = Gaps(tuple(rows), tuple(dict.fromkeys([*before.lost, *lost])))
        if gaps != before:
            note_gaps(self._place, gaps)
        return gaps

    @property
    def _uncounted_damage(self) -> list[str]:
        """Of tables that have rows of some evaluations, nobody knows of which."""
        return [*self._mask_shares.damage, *self._gradients.damage]

    def _noted(self) -> Gaps:
        try:
            return noted_gaps(self._place)
        except ValueError as fault:
            return Gaps(lost=(str(fault),))

    def _complete_arm(self, name: str, arm: ArmLedger) -> Iterator[Gap]:
        for trial in arm.ended():
            row = _row_of(trial, self._folder)
            if row is not None:
                self._trials.append([with_times(row)])
                yield from self._complete_counts(row)
            elif not self._trials.contains((name, trial.number)):
                yield Gap("trials", name, trial.number, ())
        for trial in arm.begun():
            place = trial_checkpoints(self._config, self._folder, name, trial.number)
            key = (name, trial.number)
            yield from self._refill.trial(key, trial, place, all_tables=bool(self._uncounted_damage))

    def _complete_counts(self, row: Mapping[str, Any]) -> Iterator[Gap]:
        """Write what each image counted, where the trial's last checkpoint is still there."""
        if self._image_confusion.contains((row["arm"], row["trial"], "last", row["iterations"])):
            return
        kept = checkpoints_at(trial_checkpoints(self._config, self._folder, row["arm"], row["trial"]))
        wrong: str | None = "its last checkpoint is gone"
        try:
            if (last := kept.of(row["iterations"])) in kept.all():
                wrong = self._add_counts(row, last)
                if wrong:
                    warnings.warn(f"{row['arm']} {row['trial']}: {wrong}", TableWarning, stacklevel=3)
        except UnreachableError as fault:
            warnings.warn(f"{row['arm']} {row['trial']}: {fault}", TableWarning, stacklevel=3)
        if wrong and row["state"] != TrialState.FAIL.name:
            yield Gap("image_confusion", row["arm"], row["trial"], (row["iterations"],))

    def _add_counts(self, row: Mapping[str, Any], checkpoint: str) -> str | None:
        try:
            rows = confusion_rows(row, checkpoint, self._config.class_names)
        except (DamagedError, UnreachableError) as wrong:
            return f"{wrong}; the table image_confusion does not have this trial"
        self._image_confusion.append(rows)
        return None

    def close(self) -> bool:
        """Seal and compact all tables; whether nothing of them was found damaged since they were opened."""
        for writer in self._writers():
            writer.close()
        self._note(self._noted().rows)
        return all(len(writer.damage) == known for writer, known in self._known_damage.items())


def finish(written: StudyTables, config: StudyConfig, folder: Path, arms: Mapping[str, ArmLedger]) -> list[str]:
    """Complete and close the tables; says what they lack, in sentences."""
    lacking = written.complete(arms)
    while not written.close():  # what was lost meanwhile can be had from the ledger too
        written = StudyTables(config, folder, arms)
        lacking = written.complete(arms)
    return lacking


def _row_of(trial: FrozenTrial, folder: Path) -> dict[str, Any] | None:
    """A trial's row as its recorder left it in the ledger, or what can be said of a trial that never came to an end.

    None where the ledger does not have what the trial ran.
    """
    row: dict[str, Any] = json.loads(trial.user_attrs.get(ROW, "{}"))
    if row.get("state") == trial.state.name:
        return row
    run = noted_run(trial)
    if run is None:
        return None
    result = {"iteration": trial.last_step or 0}
    started = (trial.datetime_start or datetime.now()).astimezone(UTC)
    row = trial_row(run, trial.state.name, result, trial.user_attrs.get("error"), started)
    if row["error"] is not None:
        row["error_file"] = write_error_file(row, trial_folder(folder, run.arm, run.number), None)
    return row


def parameter_types(arms: Mapping[str, ArmLedger]) -> dict[str, pa.DataType]:
    """The Arrow type of every parameter that any arm searches, by path."""
    return {
        path: _arrow_type(distribution) for arm in arms.values() for path, distribution in arm.distributions.items()
    }


def _arrow_type(distribution: BaseDistribution) -> pa.DataType:
    if isinstance(distribution, IntDistribution):
        return pa.int64()
    if isinstance(distribution, CategoricalDistribution):
        kinds = {type(choice) for choice in distribution.choices}
        if kinds == {bool}:
            return pa.bool_()
        if kinds == {int}:
            return pa.int64()
        return pa.float64() if kinds <= {int, float} else pa.string()
    return pa.float64()

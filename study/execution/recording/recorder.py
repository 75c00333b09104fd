"""Recorder: a Tune callback by which every report and every ending becomes a row.

How a trial ended is decided here and nowhere else: COMPLETE only with the final report of a used budget, PRUNED when
the scheduler stopped it, FAIL for anything else, with the reason. The ledger is told first, with the row; the table
follows, so that a driver killed in between leaves a row that the next one can complete.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ray.tune import Callback
from ray.tune.experiment import Trial

from study.configuration.config import TEACHER, StudyConfig
from study.execution.ray_train import release
from study.execution.recording.failures import reason
from study.execution.recording.rows import trial_row, with_times
from study.execution.recording.study_tables import StudyTables
from study.execution.report_keys import ERROR, FINAL, PEAK
from study.execution.stopping import DRAIN_S, Drain
from study.execution.view import View
from study.ledger.ledger import ArmLedger
from trainers.checkpoints.manifest import FullDiskError
from trainers.resources.peak_memory import read_noted_peak
from trainers.worker import CHECKPOINT, WARNING


class Recorder(Callback):  # type: ignore[misc]
    """Turns Tune's events into ledger entries, table rows and the live view."""

    def __init__(
        self,
        config: StudyConfig,
        arms: Mapping[str, ArmLedger],
        tables: StudyTables,
        view: View,
        *,
        on_teacher: Callable[[str], None],
        drain: Drain,
    ) -> None:
        self._config, self._arms, self._tables, self._view = config, arms, tables, view
        self._on_teacher, self._drain = on_teacher, drain
        self._stopping = False
        self._started: dict[str, datetime] = {}
        self._restarts: Counter[str] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks, but nothing here is ever read back."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._started.setdefault(trial.trial_id, datetime.now(UTC))
        self._view.started(trial.config["arm"], trial.config["number"])

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if "val/miou_percent" in result and FINAL not in result and ERROR not in result:
            self._drain.guard(lambda: self._report(trial.config, result), None)

    def _report(self, run: Mapping[str, Any], result: dict[str, Any]) -> None:
        if WARNING in result:
            self._view.say(f"warning: {run['arm']} {run['number']}: {result[WARNING]}")
        key = {"arm": run["arm"], "trial": run["number"], "iteration": int(result["iteration"])}
        self._tables.record(key, run["attempt"], result, time=datetime.now(UTC))
        self._view.reported(
            run["arm"], run["number"], int(result["iteration"]), run["budget"],
            float(result["val/miou_percent"]),
        )  # fmt: skip

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.trial_id in self._drain.left:
            release(Path(trial.config["folder"]))
            self._view.left(trial.config["arm"], trial.config["number"])
            return
        self._drain.guard(lambda: self._complete(trial), None)

    def _complete(self, trial: Trial) -> None:
        result = dict(trial.last_result or {})
        value = result.get(self._config.objective_metric)
        if ERROR in result:
            error = str(result[ERROR])
            self._end(trial, TrialState.FAIL, result, error)
            if error.startswith(FullDiskError.__name__):  # every other trial would fail for it too
                self._drain.halt(error)
        elif value is None or not math.isfinite(value):
            self._end(trial, TrialState.FAIL, result, f"val/miou_percent must be finite, but got {value}")
        elif FINAL in result:
            self._end(trial, TrialState.COMPLETE, result, None)
        else:
            self._end(trial, TrialState.PRUNED, result, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._drain.guard(lambda: self._fail(trial), None)

    def _fail(self, trial: Trial) -> None:
        result = dict(trial.last_result or {})
        noted = read_noted_peak(Path(trial.config["folder"]))
        peak = max((value for value in (noted, result.get(PEAK)) if value is not None), default=None)
        starts = 1 + self._restarts[trial.trial_id]
        # `trial.get_error` looks where Tune copies this file later
        failure = Path(trial.error_file).read_text() if trial.error_file else ""
        error = reason(failure, starts=starts, peak_mib=peak)
        self._end(trial, TrialState.FAIL, {**result, PEAK: peak}, error)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._restarts[trial.trial_id] += 1
        release(Path(trial.config["folder"]))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if not self._drain.on:
            return
        if not self._stopping:
            self._stopping = True
            self._view.say(f"stopping: running trials have {DRAIN_S:.0f} s to come to an evaluation; again to stop now")
        if self._drain.over or not any(trial.status == Trial.RUNNING for trial in trials):
            self._drain.end()

    def _end(self, trial: Trial, state: TrialState, result: dict[str, Any], error: str | None) -> None:
        run = trial.config
        release(Path(run["folder"]))
        started = self._started.pop(trial.trial_id, datetime.now(UTC))
        row = trial_row(run, state.name, result, error, started)
        row["attempts"] += self._restarts.pop(trial.trial_id, 0)
        arm = self._arms[run["arm"]]
        value = result.get(self._config.objective_metric)
        arm.tell(run["number"], state, value, row)
        self._tables.trials.append([with_times(row)])
        if (checkpoint := result.get(CHECKPOINT)) and (wrong := self._tables.keep_counts(row, checkpoint)):
            self._view.say(f"warning: {run['arm']} {run['number']}: {wrong}")
        if state == TrialState.COMPLETE and run["arm"] == TEACHER:
            self._on_teacher(result[CHECKPOINT])
        self._view.ended(run["arm"], run["number"], state.name, value, error)

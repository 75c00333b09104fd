"""Recorder: a Tune callback by which every report and every ending becomes a row.

It follows each trial and passes on what happens; `outcome` decides how a trial ended, `rows` builds the rows, and
`StudyTables` writes them. An ending goes to the ledger first, with its row, and then to the table, so that a driver
that is killed in between leaves a row that the next one can write.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ray.tune import Callback
from ray.tune.experiment import Trial

from study.configuration.config import TEACHER, StudyConfig
from study.execution.display.view import View
from study.execution.ray_train import error_text, release
from study.execution.recording.error_file import alone, write_error_file
from study.execution.recording.failures import Failure, deterministic_place
from study.execution.recording.outcome import all_skipped, outcome
from study.execution.recording.printed import PrintedLines
from study.execution.recording.rows import trial_row
from study.execution.recording.study_tables import StudyTables
from study.execution.report_keys import ERROR, FINAL, PEAK
from study.execution.stopping import DRAIN_S, Drain, NodeNotices
from study.execution.trackers.feeds import Trackers
from study.folder import error_file
from study.ledger.ledger import ArmLedger
from study.ledger.trial_run import TrialRun
from trainers.config import plain
from trainers.resources.faults import is_machine_fault
from trainers.resources.peak_memory import read_noted_peak
from trainers.worker import CHECKPOINT, TRACEBACK, WARNING


@dataclass
class _Followed:
    """A trial that Tune runs: what it is, when it began, how often Tune has started it again."""

    run: TrialRun
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    restarts: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.run.folder)


class Recorder(Callback):  # type: ignore[misc]
    """Turns Tune's events into ledger entries, table rows and the live view.

    Args:
        config: the study.
        arms: the ledger of every arm.
        tables: the study's, open.
        view: what a person sees.
        on_teacher: called with the last checkpoint of the teacher's finished trial.
        drain: whether the driver is being stopped.
        notices: looked at between Tune's events, until then; None for a cluster whose nodes stay.
        printed: shows what trials print; None for not.
        trackers: get what the tables get; None for none.
    """

    def __init__(
        self,
        config: StudyConfig,
        arms: Mapping[str, ArmLedger],
        tables: StudyTables,
        view: View,
        *,
        on_teacher: Callable[[str], None],
        drain: Drain,
        notices: NodeNotices | None = None,
        printed: PrintedLines | None = None,
        trackers: Trackers | None = None,
    ) -> None:
        self._config, self._arms, self._tables, self._view = config, arms, tables, view
        self._on_teacher, self._drain, self._notices = on_teacher, drain, notices
        self._printed, self._trackers = printed, trackers
        self._stopping = False
        self._running: dict[str, _Followed] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks, but nothing here is ever read back."""
        return {}

    def _followed(self, trial: Trial) -> _Followed:
        """The trial behind Tune's; one that failed before it started is first seen here."""
        if trial.trial_id not in self._running:
            self._running[trial.trial_id] = _Followed(TrialRun.parse(trial.config))
        return self._running[trial.trial_id]

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        run = self._followed(trial).run
        self._view.started(run)
        if self._printed:
            self._printed.follow(run.name, Path(run.folder))
        if self._trackers:
            self._trackers.start(run)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if "eval/miou_percent" in result and FINAL not in result and ERROR not in result:
            self._drain.guard(lambda: self._report(self._followed(trial).run, result), None)

    def _report(self, run: TrialRun, result: dict[str, Any]) -> None:
        if WARNING in result:  # of a full disk, say, all trials may warn
            self._view.warn([result[WARNING]], of=run.name)
        if unmoved := all_skipped(run.trial.train, result):
            self._view.say(f"warning: {run.name}: {unmoved}")
        if self._tables.add_report(run, result) and self._trackers:
            self._trackers.report(run, result)
        miou = float(result["eval/miou_percent"])
        self._view.reported(run, int(result["iteration"]), miou)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.trial_id in self._drain.left:
            self._leave(trial, int((trial.last_result or {}).get("iteration", 0)))
        else:
            self._drain.guard(lambda: self._end(trial, dict(trial.last_result or {})), None)

    def _leave(self, trial: Trial, iteration: int) -> None:
        """Leave a trial to the next driver."""
        followed = self._followed(trial)
        self._let_go(followed, None)
        self._view.left(followed.run.arm, followed.run.number, iteration)
        del self._running[trial.trial_id]

    def _let_go(self, followed: _Followed, state: TrialState | None) -> None:
        """Give back what a trial's workers hold, and do what is left for whoever follows it.

        Args:
            followed: the trial.
            state: in which it ended; None where it goes on under another driver.
        """
        release(followed.folder)
        if self._printed:
            self._printed.end(followed.run.name)
        if self._trackers:
            self._trackers.end(followed.run, state)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._drain.guard(lambda: self._fail(trial), None)

    def _fail(self, trial: Trial) -> None:
        followed, last = self._followed(trial), dict(trial.last_result or {})
        peaks = (read_noted_peak(followed.folder), last.get(PEAK))
        peak = max((value for value in peaks if value is not None), default=None)
        failure = Failure(text=error_text(trial), starts=1 + followed.restarts, peak_mib=peak)
        self._end(trial, {**last, PEAK: peak}, failure)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        followed = self._followed(trial)
        followed.restarts += 1
        release(followed.folder)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._printed:
            self._printed.look()
        if not self._drain.on:
            if self._notices:
                self._notices.look()
            return
        if not self._stopping:
            self._stopping = True
            self._view.say(f"stopping: running trials have {DRAIN_S:.0f} s to leave a checkpoint; again to stop now")
        if self._drain.over or not any(trial.status == Trial.RUNNING for trial in trials):
            self._drain.end()

    def _end(self, trial: Trial, last: dict[str, Any], failure: Failure | None = None) -> None:
        followed = self._followed(trial)
        run, metric = followed.run, self._config.objective_metric
        state, error = outcome(last, metric=metric, failure=failure)
        if error is not None and is_machine_fault(error):  # not this trial's, which goes on once that is mended
            self._leave(trial, int(last.get("iteration", 0)))
            self._drain.halt(error, remedy="mend that")
            return
        arm = self._arms[run.arm]
        if state == TrialState.COMPLETE and (error := arm.valuation.lacking(self._measured(run, last))):
            state = TrialState.FAIL
        self._let_go(followed, state)
        text = failure.text if failure else last.get(TRACEBACK)
        row = self._row(followed, state.name, last, error)
        if error is not None:
            row["error_file"] = write_error_file(row, followed.folder, text)
        given_up = arm.given_up
        arm.tell(run.number, state, last.get(metric), row, fault=deterministic_place(text) if error and text else None)
        if wrong := self._tables.add_trial(row, last.get(CHECKPOINT)):
            self._view.say(f"warning: {run.name}: {wrong}")
        if state == TrialState.COMPLETE and run.arm == TEACHER:
            self._on_teacher(last[CHECKPOINT])
        self._view.ended(run.arm, run.number, _ending(state, row["stopped_by"]), last.get(metric), error)
        if error is not None:
            where = followed.folder
            self._view.say(f"  what led to it: {error_file(where)}; run it alone: {alone(row, where)}")
        if arm.given_up != given_up:
            self._view.say(f"{run.arm}: given up {arm.given_up}")
        del self._running[trial.trial_id]

    def _row(self, followed: _Followed, state: str, last: dict[str, Any], error: str | None) -> dict[str, Any]:
        """The trial's row of the trials table, without the file of an error."""
        run, arm = followed.run, self._arms[followed.run.arm]
        row = trial_row(run, state, last, error, followed.started)
        row["attempts"] += followed.restarts
        return {
            **row,
            **self._measured(run, last),
            **arm.costs(run.number, row["iterations"]),
            "stopped_by": arm.stopped_by(run.number),
            "earliest_stop": arm.earliest_stop(run),
        }

    def _measured(self, run: TrialRun, last: Mapping[str, Any]) -> dict[str, Any]:
        """What the trials table has of a trial's student, and the peak memory of its training."""
        student = self._arms[run.arm].valuation.student(run.values)
        return {**(plain(student) if student else {}), "peak_memory_mib": last.get(PEAK)}


def _ending(state: TrialState, stopped_by: str | None) -> str:
    """The state as a person reads it: with the reason where it is the budget's end and not the trial's score."""
    return f"{state.name} (budget)" if state == TrialState.PRUNED and stopped_by == "budget" else str(state.name)

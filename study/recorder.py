"""Recorder: a Tune callback by which every report and every ending becomes a row.

How a trial ended is decided here and nowhere else: COMPLETE only with the final report of a used budget, PRUNED when
the scheduler stopped it, FAIL for anything else, with the reason. The ledger is told first, with the row; the table
follows, so that a driver killed in between leaves a row that the next one can complete.
"""

import json
import math
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune import Callback
from ray.tune.experiment import Trial

from study import tables
from study.config import TEACHER, StudyConfig
from study.failures import reason
from study.journal import RUN
from study.ledger import ArmLedger
from study.searcher import trial_checkpoints
from study.stopping import DRAIN_S, Drain
from study.tables import TableWarning, TableWriter
from study.trial import ERROR, FINAL, OBJECTIVES, PEAK, release
from study.view import View
from trainers.checkpoint import read_evaluations, read_metrics
from trainers.checkpoint_folder import FullDiskError
from trainers.checkpoint_store import UnreachableError
from trainers.checkpoints import DamagedError, checkpoints_at
from trainers.config import TrialConfig, canonical_json, parse
from trainers.memory import read_noted_peak
from trainers.worker import CHECKPOINT, WARNING

NAMED = {
    "val/miou_percent": "miou_percent",
    "val/pixel_accuracy_percent": "pixel_accuracy_percent",
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "time/step_ms": "step_ms",
    "time/trial_seconds": "seconds",
}
"""Metrics that have a column of their own in the reports table; the others share its map."""

CLASS = "val/iou_percent/"
MASK = "mask/"
"""In no METRIC_FOLDERS: what begins with it has a table of its own."""
METRIC_FOLDERS = ("train/", "val/", "best/", "time/", "memory/")


class Tables:
    """The open tables of a study."""

    def __init__(self, config: StudyConfig, folder: Path, arms: Mapping[str, ArmLedger]) -> None:
        self._config, self._folder, place = config, folder, folder / "tables"
        self.trials = TableWriter(place, tables.trials_schema(parameter_types(arms)))
        self.reports = TableWriter(place, tables.REPORTS)
        self.class_iou = TableWriter(place, tables.CLASS_IOU)
        self.mask_shares = TableWriter(place, tables.MASK_SHARES)
        self.image_confusion = TableWriter(place, tables.IMAGE_CONFUSION)
        self.environment = TableWriter(place, tables.ENVIRONMENT)

    def complete(self, arms: Mapping[str, ArmLedger]) -> None:
        """Write what of trials that ended in the ledger is not yet here."""
        for name, arm in arms.items():
            for trial in arm.ended():
                row = _row_of(trial)
                if row is None and not self.trials.contains((name, trial.number)):
                    what = f"{name} {trial.number}: has no row, because the journal lost what it ran"
                    warnings.warn(what, TableWarning, stacklevel=2)
                elif row is not None:
                    self.trials.append([_with_times(row)])
                    self._complete_counts(row)

    def _complete_counts(self, row: Mapping[str, Any]) -> None:
        """Write what each image counted, where the trial's last checkpoint is still there."""
        if self.image_confusion.contains((row["arm"], row["trial"], "last", row["iterations"])):
            return
        kept = checkpoints_at(trial_checkpoints(self._config, self._folder, row["arm"], row["trial"]))
        wrong = None
        try:
            if (last := kept.of(row["iterations"])) in kept.all():
                wrong = self.keep_counts(row, last)
        except UnreachableError as fault:
            wrong = str(fault)
        if wrong:
            warnings.warn(f"{row['arm']} {row['trial']}: {wrong}", TableWarning, stacklevel=3)

    def keep_counts(self, key: Mapping[str, Any], checkpoint: str) -> str | None:
        """Write what each image counted in a trial's last and best evaluation; says what kept it from that.

        Args:
            key: names the trial: "arm", "trial" and "iterations".
            checkpoint: the trial's last, a folder or a URL.
        """
        try:
            rows = confusion_rows(key, checkpoint, self._config.class_names)
        except (DamagedError, UnreachableError) as wrong:
            return f"{wrong}; the table image_confusion does not have this trial"
        self.image_confusion.append(rows)
        return None

    def close(self) -> None:
        """Seal and compact all tables."""
        for table in vars(self).values():
            if isinstance(table, TableWriter):
                table.close()


def _row_of(trial: FrozenTrial) -> dict[str, Any] | None:
    """A trial's row as its recorder left it in the ledger, or what can be said of a trial that never came to an end.

    None where the ledger does not have what the trial ran.
    """
    row: dict[str, Any] = json.loads(trial.user_attrs.get("row", "{}"))
    if row.get("state") == trial.state.name:
        return row
    if RUN not in trial.user_attrs:
        return None
    run = json.loads(trial.user_attrs[RUN])
    result = {"iteration": trial.last_step or 0}
    started = (trial.datetime_start or datetime.now()).astimezone(UTC)
    return trial_row(run, trial.state.name, result, trial.user_attrs.get("error"), started)


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


class Recorder(Callback):  # type: ignore[misc]
    """Turns Tune's events into ledger entries, table rows and the live view."""

    def __init__(
        self,
        config: StudyConfig,
        arms: Mapping[str, ArmLedger],
        tables: Tables,
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
        self._tables.reports.append([report_row(key, run["attempt"], result)])
        ious = {n.removeprefix(CLASS): v for n, v in result.items() if n.startswith(CLASS)}
        self._tables.class_iou.append(
            [{**key, "class": n, "iou_percent": ious.get(n)} for n in self._config.class_names]
        )
        self._tables.mask_shares.append(mask_rows(key, result))
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
        value = result.get(OBJECTIVES[self._config.objective])
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
        value = result.get(OBJECTIVES[self._config.objective])
        arm.tell(run["number"], state, value, row)
        self._tables.trials.append([_with_times(row)])
        if (checkpoint := result.get(CHECKPOINT)) and (wrong := self._tables.keep_counts(row, checkpoint)):
            self._view.say(f"warning: {run['arm']} {run['number']}: {wrong}")
        if state == TrialState.COMPLETE and run["arm"] == TEACHER:
            self._on_teacher(result[CHECKPOINT])
        self._view.ended(run["arm"], run["number"], state.name, value, error)


def report_row(key: Mapping[str, Any], attempt: int, result: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the reports table."""
    others = {
        name: float(value)
        for name, value in result.items()
        if name.startswith(METRIC_FOLDERS)
        and name not in NAMED
        and not name.startswith(CLASS)
        and isinstance(value, int | float)
    }
    named = {column: result.get(name) for name, column in NAMED.items()}
    return {**key, **named, "attempt": attempt, "time": datetime.now(UTC), "metrics": others}


def mask_rows(key: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the mask_shares table from `mask/MASK/kept_pixels/CLASS` and `mask/MASK/valid_pixels/CLASS`."""
    counted: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in result.items():
        if name.startswith(MASK):
            _, mask, what, class_name = name.split("/", 3)
            counted.setdefault((mask, class_name), {})[what] = value
    return [
        {
            **key,
            "mask": mask,
            "class": class_name,
            "valid_pixels": int(pixels["valid_pixels"]),
            "kept_pixels": pixels["kept_pixels"],
            "share_percent": 100 * pixels["kept_pixels"] / pixels["valid_pixels"],
        }
        for (mask, class_name), pixels in counted.items()
    ]


def trial_row(
    run: Mapping[str, Any],
    state: str,
    result: Mapping[str, Any],
    error: str | None,
    started: datetime,
) -> dict[str, Any]:
    """One row of the trials table, in types that JSON has; times as ISO text."""
    seconds = float(result.get("time/trial_seconds", 0.0))
    gpus = run["execution"]["gpus_per_worker"] * run["trial"]["train"]["workers"]
    return {
        "arm": run["arm"],
        "trial": run["number"],
        "state": state,
        "attempts": run["attempt"],
        "iterations": int(result.get("iteration", 0)),
        "budget": run["budget"],
        "seconds": seconds,
        "gpu_seconds": seconds * gpus,
        "config": canonical_json(parse(TrialConfig, run["trial"])),
        "config_hash": run["hash"],
        "started": started.isoformat(),
        "ended": datetime.now(UTC).isoformat(),
        "error": error,
        "host": result.get("hostname", socket.gethostname()),
        "peak_memory_mib": result.get(PEAK),
        "best_miou_percent": result.get("best/miou_percent"),
        "last_miou_percent": result.get("val/miou_percent"),
        "best_iteration": result.get("best/iteration"),
        "retry_of": run.get("retry_of"),
        **{tables.PARAMETER + path: value for path, value in run["values"].items()},
    }


def _with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: datetime.fromisoformat(row[name]) for name in ("started", "ended")}
    return {**row, **times}


def confusion_rows(
    key: Mapping[str, Any], checkpoint: str | Path, class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Rows of the image_confusion table of a trial's last and best evaluation, from its last checkpoint."""
    names, evaluations = read_evaluations(checkpoint)
    iterations = {"last": key["iterations"], "best": int(read_metrics(checkpoint)["best/iteration"])}
    return [
        {
            "arm": key["arm"],
            "trial": key["trial"],
            "evaluation": evaluation,
            "iteration": iterations[evaluation],
            "image": names[image],
            "class": class_names[number],
            "true_positives": counts[image, number, 0].item(),
            "false_positives": counts[image, number, 1].item(),
            "false_negatives": counts[image, number, 2].item(),
        }
        for evaluation, counts in evaluations.items()
        for image, number in counts.sum(2).nonzero().tolist()
    ]

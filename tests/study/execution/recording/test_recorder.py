"""Recorder: what a report, an ending and a kill in between leave in the tables. No cluster is started."""

import argparse
import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from optuna.trial import TrialState

from analysis.leaderboard import print_leaderboard
from analysis.queries import best
from study import tables
from study.commands.searches import status
from study.configuration.config import StudyConfig
from study.configuration.objectives.students import MeasureLatency
from study.configuration.recordings.plan import NO_RECORDINGS, StudyRecordings
from study.execution import stopping
from study.execution.capacity import HEAD, ClusterCapacity
from study.execution.display.view import View
from study.execution.recording import recorder
from study.execution.recording.printed import PrintedLines
from study.execution.recording.recorder import Recorder
from study.execution.recording.rows import confusion_rows, gradient_rows, report_row, trial_row
from study.execution.recording.study_tables import StudyTables, parameter_types
from study.execution.scheduler import LedgerScheduler
from study.execution.searcher import LedgerSearcher
from study.execution.stopping import Drain, NodeNotices
from study.folder import CONFIG
from study.ledger import ledger
from study.ledger.ledger import FAULT, ArmLedger, open_arms
from study.ledger.trial_run import TrialRun
from trainers.checkpoints.requests import Request, Requests
from trainers.config import TeacherFile, TrialConfig, canonical_json, content_hash, parse
from trainers.context import LocalContext
from trainers.data import streets
from trainers.distillation.gradients import PROBES
from trainers.loop import train
from trainers.resources.output import log_file

Reader = Callable[..., StudyConfig]
NAMES = streets.Dataset.class_names
TEACHER = TeacherFile(path="/teachers/one.safetensors", sha256="0" * 64)
START = datetime(2024, 5, 17, 12, tzinfo=UTC)


def report(iteration: int = 2, **others: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "eval/miou_percent": 20.0,
        "eval/pixel_accuracy_percent": 60.0,
        "eval/iou_percent/sky": 50.0,
        "best/miou_percent": 21.0,
        "best/iteration": 1,
        "train/loss": 1.5,
        "train/term/kd/pixel": 0.25,
        "train/learning_rate": 0.05,
        "time/step_ms": 12.0,
        "time/trial_seconds": 3.0,
        "memory/peak_mib": 100.0,
        "trial_id": "of Tune",
        **others,
    }


class Driver:
    """Ledger, tables and recorder of a driver; its trials are Tune's as far as the recorder looks at them."""

    def __init__(
        self,
        config: StudyConfig,
        folder: Path,
        *,
        teacher: TeacherFile = TEACHER,
        recordings: StudyRecordings = NO_RECORDINGS,
        measure: MeasureLatency | None = None,
    ) -> None:
        self.config, self.folder = config, folder
        self.arms: dict[str, ArmLedger] = open_arms(config, folder, with_teacher=False, measure=measure)
        self.tables = StudyTables(config, folder, self.arms)
        self.drain = Drain()
        self.recorder = Recorder(
            config, self.arms, self.tables, View(self.arms), on_teacher=lambda _: None, drain=self.drain
        )
        capacity = ClusterCapacity(config.execution, nodes=lambda: [{"CPU": 64, HEAD: 1}])
        self.searcher = LedgerSearcher(
            config,
            self.arms,
            teacher=lambda: teacher,
            capacity=capacity,
            folder=folder,
            drain=self.drain,
            recordings=recordings,
            local=True,
        )
        self.asked = 0

    def start(self) -> Any:
        self.asked += 1
        run = self.searcher.suggest(str(self.asked))
        assert isinstance(run, dict)
        trial = SimpleNamespace(trial_id=f"{run['arm']}-{run['number']}", config=run, last_result=None)
        self.recorder.on_trial_start(0, [], trial)
        return trial

    def result(self, trial: Any, **values: Any) -> None:
        trial.last_result = report(**values)
        self.recorder.on_trial_result(0, [], trial, trial.last_result)

    def rows(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = tables.read(self.folder / "tables", name).to_pylist()
        return rows


@pytest.fixture
def driver(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    return Driver(config(), tmp_path)


def test_a_report_has_its_columns_and_every_other_scalar() -> None:
    row = report_row({"arm": "kd", "trial": 3, "iteration": 2}, 1, report(), time=START)
    assert dict(row["metrics"]) == {
        "train/term/kd/pixel": 0.25, "best/miou_percent": 21.0, "best/iteration": 1.0, "memory/peak_mib": 100.0,
    }  # fmt: skip
    assert (row["miou_percent"], row["loss"], row["seconds"], row["step_ms"]) == (20.0, 1.5, 3.0, 12.0)
    assert row.keys() == set(tables.REPORTS.names)


def test_parameters_keep_the_type_of_their_space(driver: Driver) -> None:
    assert parameter_types(driver.arms) == {
        "train/optimizer/lr": pa.float64(),
        "train/optimizer/weight_decay": pa.float64(),
        "task/threshold": pa.float64(),
        "task/tfe_fraction": pa.float64(),
        "task/combine": pa.string(),
        "methods/kd/weights/pixel": pa.float64(),
        "methods/kd/temperature": pa.float64(),
    }


def test_every_report_is_a_row_with_every_class(driver: Driver) -> None:
    trial = driver.start()
    driver.result(trial)
    driver.result(trial)  # a resumed trial tells its last evaluation again
    driver.result(trial, iteration=4)
    assert [row["iteration"] for row in driver.rows("reports")] == [2, 4]
    classes = driver.rows("class_iou")
    assert [row["class"] for row in classes] == [*NAMES, *NAMES]
    assert {row["class"]: row["iou_percent"] for row in classes} == {**dict.fromkeys(NAMES), "sky": 50.0}


MASKS = {
    "mask/tse/kept_pixels/sky": 30.0, "mask/tse/valid_pixels/sky": 120.0,
    "mask/tse/kept_pixels/road": 0.0, "mask/tse/valid_pixels/road": 7.0,
    "mask/tfe/kept_pixels/sky": 60.5, "mask/tfe/valid_pixels/sky": 121.0,
}  # fmt: skip


def test_mask_shares_are_rows_of_their_own_and_swell_no_report(driver: Driver) -> None:
    trial = driver.start()
    driver.result(trial)
    driver.result(trial, iteration=4, **MASKS)
    driver.result(trial, iteration=4, **MASKS)
    key = {"arm": trial.config["arm"], "trial": trial.config["number"], "iteration": 4}
    tse = {**key, "mask": "tse"}
    assert driver.rows("mask_shares") == [
        {**tse, "class": "sky", "valid_pixels": 120, "kept_pixels": 30.0, "share_percent": 25.0},
        {**tse, "class": "road", "valid_pixels": 7, "kept_pixels": 0.0, "share_percent": 0.0},
        {**key, "mask": "tfe", "class": "sky", "valid_pixels": 121, "kept_pixels": 60.5, "share_percent": 50.0},
    ]
    assert not [name for row in driver.rows("reports") for name, _ in row["metrics"] if name.startswith("mask")]


def probes(*iterations: int) -> dict[str, str]:
    """What a report says of the steps that compared gradients."""
    terms = {"kd/pixel": [3.0, -0.5], "kd/nothing": [0.0, None], "own/early": [None, None]}
    told = [{"iteration": at, "stage": "tse", "task_norm": 2.0, "terms": terms} for at in iterations]
    return {PROBES: json.dumps(told)}


def test_gradients_are_rows_of_their_own_and_swell_no_report(driver: Driver) -> None:
    trial = driver.start()
    driver.result(trial)
    driver.result(trial, iteration=4, **probes(3, 4))
    driver.result(trial, iteration=4, **probes(3, 4))
    driver.result(trial, iteration=6, **probes(6))
    key = {"arm": trial.config["arm"], "trial": trial.config["number"], "stage": "tse", "task_norm": 2.0}
    assert driver.rows("gradients") == [
        {**key, "iteration": at, "term": term, "term_norm": norm, "cosine": cosine, "norm_ratio": ratio}
        for at in (3, 4, 6)
        for term, norm, cosine, ratio in (
            ("kd/pixel", 3.0, -0.5, 1.5), ("kd/nothing", 0.0, None, 0.0), ("own/early", None, None, None),
        )
    ]  # fmt: skip
    assert not [name for row in driver.rows("reports") for name, _ in row["metrics"] if name.startswith("grad")]


def test_a_task_without_gradient_has_no_ratio_to_it() -> None:
    terms = {"kd/pixel": [3.0, None]}
    for norm in (None, 0.0):
        told = [{"iteration": 1, "stage": None, "task_norm": norm, "terms": terms}]
        (row,) = gradient_rows({"arm": "kd", "trial": 3, "iteration": 2}, {PROBES: json.dumps(told)})
        assert (row["iteration"], row["term_norm"], row["norm_ratio"]) == (1, 3.0, None)


@pytest.mark.parametrize(
    ("last", "state", "error"),
    [
        ({"final": True}, "COMPLETE", None),
        ({}, "PRUNED", None),
        ({"error": "DivergedError: kd/pixel"}, "FAIL", "DivergedError: kd/pixel"),
        ({"eval/miou_percent": float("nan")}, "FAIL", "eval/miou_percent must be finite, but got nan"),
    ],
)
def test_how_a_trial_ended_is_told_to_ledger_and_table(
    driver: Driver, last: dict[str, Any], state: str, error: str | None
) -> None:
    trial = driver.start()
    driver.recorder._arms[trial.config["arm"]].report(trial.config["number"], 2, 20.0)
    driver.result(trial, **last)
    driver.recorder.on_trial_complete(0, [], trial)
    (row,) = driver.rows("trials")
    assert (row["state"], row["error"], row["iterations"]) == (state, error, 2)
    (ended,) = driver.arms[trial.config["arm"]].ended()
    assert ended.state.name == state
    assert (ended.value == 20.0) == (state != "FAIL")


def test_a_failed_trial_leaves_all_that_is_known(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    trial = driver.start()
    own = Path(trial.config["folder"])
    own.mkdir(parents=True)
    log_file(own).write_text("".join(f"loss {step}\n" for step in range(100)))
    log_file(own, 1).write_text("nan here\n")
    text = 'Traceback (most recent call last):\n  File "/a/loss.py", line 7, in terms\nTypeError: no such sum\n'
    driver.result(trial, error="TypeError: no such sum", traceback=text)
    driver.recorder.on_trial_complete(0, [], trial)

    (row,) = driver.rows("trials")
    name = f"{row['arm']}-{row['trial']}"
    assert row["error_file"] == f"trials/{own.name}/error.txt"
    told = (driver.folder / row["error_file"]).read_text()
    assert told.startswith(f"{name}: TypeError: no such sum\n") and text.strip() in told
    assert "train/optimizer/lr: " in told and "loss 99\n" in told and "loss 50\n" in told and "loss 49\n" not in told
    assert "by rank 1 (log-rank1.txt)" in told and "nan here" in told
    command = f"kdstudy train {driver.folder} --trial {name} --workers 0"
    said = capsys.readouterr().err
    assert f"{row['arm']} {row['trial']}: FAIL, TypeError: no such sum\n" in said
    assert command in told and command in said and str(own / "error.txt") in said
    assert driver.arms[row["arm"]].ended()[0].user_attrs[FAULT] == "TypeError at /a/loss.py, line 7"

    (driver.folder / CONFIG).write_text(canonical_json(driver.config))
    assert status.execute(argparse.Namespace(folder=driver.folder, json=False)) == 0
    assert f"FAIL, TypeError: no such sum; see {own / 'error.txt'}\n" in capsys.readouterr().out
    answer = best(driver.folder)
    failed = {"arm": row["arm"], "trial": row["trial"], "error": row["error"], "error_file": str(own / "error.txt")}
    assert answer["studies"][0]["failed"] == [failed]
    print_leaderboard(answer)
    assert f"FAIL, TypeError: no such sum; see {own / 'error.txt'}\n" in capsys.readouterr().out


def test_an_arm_whose_trials_fail_alike_is_said_to_be_given_up(
    driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'Traceback (most recent call last):\n  File "/a/loss.py", line 7, in terms\nTypeError: no such sum\n'
    for _ in range(4):  # of two arms
        trial = driver.start()
        driver.result(trial, error="TypeError: no such sum", traceback=text)
        driver.recorder.on_trial_complete(0, [], trial)
        driver.searcher.on_trial_complete(str(driver.asked))
    said = capsys.readouterr().err
    for arm in ("baseline", "rdd"):
        why = "because all of its 2 trials that ended failed alike: TypeError at /a/loss.py, line 7"
        assert said.count(f"{arm}: given up {why}\n") == 1
    assert driver.searcher.suggest("more") == "FINISHED"


def test_a_trial_that_drivers_died_over_is_explained_too(driver: Driver) -> None:
    trial = driver.start()
    arm = driver.arms[trial.config["arm"]]
    live = arm._live.pop(trial.config["number"])
    live.set_user_attr("error", "the study's driver died 10 times in a row")
    arm.study.tell(live, state=TrialState.FAIL)
    driver.tables.complete(driver.arms)
    (row,) = driver.rows("trials")
    assert "the study's driver died 10 times" in (driver.folder / row["error_file"]).read_text()


def test_what_a_trial_prints_is_shown_while_it_runs(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    clock = iter(range(100))
    driver.recorder._printed = PrintedLines(said.append, lambda: float(next(clock)))
    own = driver.folder / "trials" / "baseline-00000"
    own.mkdir(parents=True)
    log_file(own).write_text("before\n")
    trial = driver.start()
    assert Path(trial.config["folder"]) == own

    def prints(text: str, rank: int = 0) -> None:
        with log_file(own, rank).open("a") as file:
            file.write(text)
        driver.recorder.on_step_end(0, [])

    prints("one\ntw")
    prints("o\n")
    prints("other\n", rank=1)
    log_file(own).write_text("cut\n")
    prints("three\n")
    prints("four")
    driver.result(trial, error="ValueError: x")
    prints("\nlast\n")
    driver.recorder.on_trial_complete(0, [], trial)
    prints("too late\n")
    shown = ["baseline 0 | one", "baseline 0 | two", "baseline 0 rank 1 | other"]
    assert said == [*shown, "baseline 0 | four", "baseline 0 | last"]


def test_a_warning_of_a_trial_is_shown(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.result(driver.start(), warning="checkpoint_000000006/state.pt is damaged; the trial starts anew")
    assert "warning: baseline 0: checkpoint_000000006/state.pt is damaged; the trial starts" in capsys.readouterr().err


def test_what_all_trials_warn_of_is_shown_once(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    trial = driver.start()
    driver.result(trial, warning="the disk is full")
    driver.result(trial, iteration=4, warning="the disk is full")
    assert capsys.readouterr().err.count("warning: baseline 0: the disk is full") == 1


def test_a_damaged_checkpoint_at_the_end_costs_its_counts_and_nothing_else(
    driver: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = driver.start()
    driver.result(trial, final=True, checkpoint=str(tmp_path / "checkpoint_000000002"))
    driver.recorder.on_trial_complete(0, [], trial)
    assert "checkpoint_000000002/evaluations.npz cannot be read: No such file" in capsys.readouterr().err
    (row,) = driver.rows("trials")
    assert row["state"] == "COMPLETE" and driver.rows("image_confusion") == []


STARVED = "Task was killed due to the node running low on memory.\nMemory on the node was 9 GB / 9 GB"
KILLED = "causes include: (1) the process was killed by the OOM killer due to high memory usage, (2)"


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("Traceback:\n  File x\nActorDied: the node is gone\n", "ActorDied: the node is gone"),
        (STARVED, "OutOfMemory: Ray ended its process at the last of 2 starts because the machine ran low on memory; "),
        (KILLED, "Killed: its process was killed at the last of 2 starts, which is what a system does that has no "),
        ("", "no reason is known"),
    ],
)
def test_what_ray_raised_is_a_reason_and_a_peak_of_memory(
    driver: Driver, tmp_path: Path, raised: str, error: str
) -> None:
    trial = driver.start()
    trial.error_file = str(tmp_path / "error.txt")
    Path(trial.error_file).write_text(f"Failure # 1 (occurred)\nKeyError: 'other'\nFailure # 2 (occurred)\n{raised}")
    driver.recorder.on_trial_recover(0, [], trial)
    folder = Path(trial.config["folder"])
    folder.mkdir(parents=True)
    for rank, peak in enumerate(("900", "1234", "")):  # one was killed as it wrote
        (folder / f"peak_mib-{rank}").write_text(peak)
    driver.recorder.on_trial_error(0, [], trial)
    (row,) = driver.rows("trials")
    assert row["state"] == "FAIL" and row["error"].startswith(error)
    assert (row["attempts"], row["iterations"], row["peak_memory_mib"]) == (2, 0, 1234.0)
    assert ("its peak memory was 1234 MiB" in row["error"]) == (raised in (STARVED, KILLED))


def test_a_stopped_driver_leaves_its_trials_at_their_next_evaluation(driver: Driver) -> None:
    trial, late = driver.start(), driver.start()
    scheduler = LedgerScheduler(driver.arms, "eval/miou_percent", driver.drain)
    trial.last_result = report(iteration=2)
    assert scheduler.on_trial_result(None, trial, trial.last_result) == "CONTINUE"
    driver.drain.begin()
    assert driver.searcher.suggest("any") == "FINISHED"
    trial.last_result = report(iteration=4)
    assert scheduler.on_trial_result(None, trial, trial.last_result) == "STOP"
    driver.recorder.on_trial_complete(0, [], trial)
    # one that has used its budget ends as ever
    late.last_result = report(iteration=12, final=True)
    assert scheduler.on_trial_result(None, late, report(iteration=12)) == "CONTINUE"
    driver.recorder.on_trial_complete(0, [], late)
    assert [(row["arm"], row["state"]) for row in driver.rows("trials")] == [(late.config["arm"], "COMPLETE")]
    for arm in driver.arms.values():
        arm.leave()
    again = open_arms(driver.config, driver.folder, with_teacher=False)[trial.config["arm"]].ask()
    assert again is not None and (again.number, again.attempt) == (0, 2)


def test_an_older_evaluation_that_is_told_again_stops_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that goes on tells its last two evaluations, and the row of one that is stopped is of the newest."""
    trial = driver.start()
    monkeypatch.setattr(ArmLedger, "should_prune", lambda self, number: True)
    driver.arms[trial.config["arm"]].report(trial.config["number"], 4, 20.0)
    scheduler = LedgerScheduler(driver.arms, "eval/miou_percent", driver.drain)
    decided = [scheduler.on_trial_result(None, trial, report(iteration=iteration)) for iteration in (2, 4)]
    assert decided == ["CONTINUE", "STOP"]


def test_a_full_disk_halts_the_study_and_writes_nothing_more(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune would take what a callback raises for the trial's fault."""
    ended = []
    monkeypatch.setattr(Drain, "end", staticmethod(lambda: ended.append(1)))
    first, second, third = (driver.start() for _ in range(3))

    def full(rows: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "tables/reports/live-000001.arrows")

    monkeypatch.setattr(driver.tables._reports, "append", full)
    driver.result(first)
    assert ended and driver.drain.fault == (
        "tables/reports/live-000001.arrows could not be written: No space left on device"
    )
    driver.result(second, final=True)
    driver.recorder.on_trial_complete(0, [], second)
    third.error_file = None
    driver.recorder.on_trial_error(0, [], third)
    assert driver.rows("trials") == [] and not any(arm.ended() for arm in driver.arms.values())
    assert driver.searcher.suggest("any") == "FINISHED"
    scheduler = LedgerScheduler(driver.arms, "eval/miou_percent", driver.drain)
    assert scheduler.on_trial_result(None, first, report(iteration=4)) == "CONTINUE"
    assert driver.arms[first.config["arm"]].last_step(first.config["number"]) == 0


@pytest.mark.parametrize(
    "error",
    [
        "FullDiskError: a checkpoint of 1.0 MB must fit on the disk",
        "UnwritableError: a checkpoint must be written to x",
        "UnreachableError: checkpoints must be written at s3://bucket/x",
        "FilesMissingError: every image must have its file",
        "TeacherFileError: a teacher must be a teacher's file, but there is no x",
        "ChangedDatasetError: every machine must have the dataset that the study began with",
        # of several ranks, as Ray tells it
        "trainers.checkpoints.manifest.FullDiskError: a checkpoint of 1.0 MB must fit on the disk",
    ],
)
def test_a_fault_of_the_machine_halts_the_study_and_leaves_the_trial_open(
    error: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drain, "end", staticmethod(lambda: None))
    trial = driver.start()
    driver.result(trial, error=error)
    driver.recorder.on_trial_complete(0, [], trial)
    assert driver.drain.fault == error and driver.rows("trials") == []
    arm = driver.arms[trial.config["arm"]]
    arm.leave()
    again = open_arms(driver.config, driver.folder, with_teacher=False)[trial.config["arm"]].ask()
    assert again is not None and (again.number, again.attempt) == (trial.config["number"], 2)


def test_a_fault_of_the_trial_fails_it_alone(driver: Driver) -> None:
    trial = driver.start()
    driver.result(trial, error="DivergedError: kd/pixel is nan at iteration 7")
    driver.recorder.on_trial_complete(0, [], trial)
    (row,) = driver.rows("trials")
    assert (row["state"], driver.drain.fault) == ("FAIL", None)


def test_the_loop_ends_when_nothing_runs_or_time_is_over(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(Drain, "end", staticmethod(lambda: ended.append(1)))
    running, done = SimpleNamespace(status="RUNNING"), SimpleNamespace(status="TERMINATED")
    driver.recorder.on_step_end(0, [done])
    assert not ended, "nobody asked for it"
    driver.drain.begin()
    driver.recorder.on_step_end(0, [running, done])
    assert not ended
    driver.recorder.on_step_end(0, [done])
    assert len(ended) == 1
    monkeypatch.setattr(stopping, "DRAIN_S", -1.0)
    driver.drain.begin()
    driver.recorder.on_step_end(0, [running])
    assert len(ended) == 2


def test_every_new_notice_of_a_node_asks_for_checkpoints_once_and_never_undoes_a_stop(
    driver: Driver, tmp_path: Path
) -> None:
    draining, now, said = set[str](), [0.0], list[str]()
    asking, trial = Requests(tmp_path / "request"), Requests(tmp_path / "request")
    notices = NodeNotices(lambda: set(draining), asking, said.append, clock=lambda: now[0])
    drain = Drain(asking)
    followed = Recorder(
        driver.config, driver.arms, driver.tables, View({}), on_teacher=lambda _: None, drain=drain, notices=notices
    )
    running = SimpleNamespace(status="RUNNING")

    def later() -> Request:
        now[0] += stopping.NOTICES_S
        followed.on_step_end(0, [running])
        return trial.look()

    assert later() is Request.NONE and said == []
    draining.add("one")
    followed.on_step_end(0, [running])
    assert trial.look() is Request.NONE, "it is not time to look"
    assert [later(), later()] == [Request.CHECKPOINT, Request.NONE]
    draining.add("another")
    assert [later(), later()] == [Request.CHECKPOINT, Request.NONE]
    assert said == ["a node is about to be taken away: running trials leave a checkpoint now"] * 2
    draining.add("a third")
    drain.begin()
    assert later() is Request.STOP


def test_the_configuration_in_a_row_is_the_trial(driver: Driver) -> None:
    runs = [driver.start().config for _ in range(4)]
    assert {run["arm"] for run in runs} == {"baseline", "rdd"}
    for run in runs:
        row = trial_row(TrialRun.parse(run), "COMPLETE", report(), None, START)
        stored = parse(TrialConfig, json.loads(row["config"]))
        assert stored == driver.config.trial(run["arm"], run["values"], TEACHER)
        assert content_hash(stored) == row["config_hash"]
        assert {n.removeprefix("param/"): v for n, v in row.items() if n.startswith("param/")} == run["values"]
        assert json.loads(json.dumps(row)) == row


def test_a_replicate_is_a_column_of_its_row(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)
    driver = Driver(config(arms={"again": {"trials": 2, "methods": {"kd": {}}}}), tmp_path)
    for _ in range(2):
        trial = driver.start()
        driver.result(trial, final=True)
        driver.recorder.on_trial_complete(0, [], trial)
    rows = driver.rows("trials")
    assert [row["param/replicate"] for row in rows] == [0, 1]
    seeds = [json.loads(row["config"])["init_seed"] for row in rows]
    assert seeds == [driver.config.seed, driver.config.seed + 1]


def test_rows_that_a_killed_driver_did_not_write_are_completed_once(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = driver.start()
    driver.result(trial, final=True)
    with monkeypatch.context() as killed:
        killed.setattr(driver.tables._trials, "append", lambda _: None)
        driver.recorder.on_trial_complete(0, [], trial)
    assert driver.rows("trials") == []
    for _ in range(2):
        following = Driver(driver.config, driver.folder)
        following.tables.complete(following.arms)
        following.tables.close()
        (row,) = following.rows("trials")
    assert (row["arm"], row["trial"], row["state"]) == (trial.config["arm"], trial.config["number"], "COMPLETE")
    assert row["last_miou_percent"] == 20.0


def test_counts_that_a_killed_driver_did_not_write_are_completed_once(
    config: Reader, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = driver.start()
    context = LocalContext(Path(trial.config["folder"]))
    result = dict(train(config(train__iterations=2).trial("baseline", {}, None), context))
    driver.result(trial, **result, checkpoint=str(context.checkpoints()[-1]), final=True)
    with monkeypatch.context() as killed:
        killed.setattr(driver.tables._image_confusion, "append", lambda _: None)
        driver.recorder.on_trial_complete(0, [], trial)
    expected = confusion_rows({"arm": "baseline", "trial": 0, "iterations": 2}, context.checkpoints()[-1], NAMES)
    for _ in range(2):
        following = Driver(driver.config, driver.folder)
        following.tables.complete(following.arms)
        following.tables.close()
        assert following.rows("image_confusion") == expected


def test_a_trial_that_was_given_up_between_drivers_has_a_row(
    config: Reader, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LOST_DRIVERS", 1)
    study = config()
    trial = Driver(study, driver.folder).start()
    following = Driver(study, driver.folder)
    arm = following.arms[trial.config["arm"]]
    arm.ask()
    following.tables.complete(following.arms)
    (row,) = following.rows("trials")
    assert (row["state"], row["attempts"], row["config_hash"]) == ("FAIL", 1, trial.config["hash"])
    assert row["error"].startswith("the study's driver died 1 times in a row without a new checkpoint")
    assert arm.count(TrialState.FAIL) == 1


def test_confusion_rows_add_up_to_the_pixels_of_every_image(config: Reader, tmp_path: Path) -> None:
    trial = config(train__iterations=2).trial("baseline", {}, None)
    torch.set_num_threads(1)
    context = LocalContext(tmp_path / "trial")
    result = dict(train(trial, context))
    rows = confusion_rows({"arm": "baseline", "trial": 0, "iterations": 2}, context.checkpoints()[-1], NAMES)
    assert {row["evaluation"] for row in rows} == {"last", "best"}
    images = {row["image"] for row in rows}
    assert len(images) == 8
    last = [row for row in rows if row["evaluation"] == "last"]
    for image in images:
        pixels = sum(r["true_positives"] + r["false_negatives"] for r in last if r["image"] == image)
        assert 0 < pixels <= 48 * 64
    correct, labelled = (
        sum(r["true_positives"] for r in last),
        sum(r["true_positives"] + r["false_negatives"] for r in last),
    )
    assert 100 * correct / labelled == pytest.approx(result["eval/pixel_accuracy_percent"])

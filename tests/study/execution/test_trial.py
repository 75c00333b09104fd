"""What runs a trial, what it reserves, and what becomes of one that is asked to stop. No cluster is started."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from study.configuration.config import ExecutionConfig, StudyConfig
from study.configuration.loading import load
from study.execution import trial as execution_of_trials
from study.execution.capacity import DRIVER, HEAD, ClusterCapacity
from study.execution.recording import recorder
from study.execution.report_keys import FINAL, STOPPED
from study.execution.scheduler import LedgerScheduler
from study.execution.trial import run_trial, trial_resources
from study.folder import CONFIG, REQUEST, create_study, read_config
from study.ledger.ledger import open_arms
from tests.study.execution.recording.test_recorder import Driver
from tests.trainers.stops import reproducible
from trainers import worker
from trainers.checkpoints.requests import Request, Requests
from trainers.config import ConfigError, parse
from trainers.resources.output import log_file
from trainers.worker import CHECKPOINT, TRACEBACK

Reader = Callable[..., StudyConfig]
CHANGES: dict[str, Any] = {"arms": {"baseline": {"trials": 1, "space": "optimizer"}}, "train__iterations": 6}


@pytest.mark.parametrize(
    ("execution", "arm", "workers", "local", "engine"),
    [
        ({}, "kd", 1, True, "inline"),
        ({}, "kd", 1, False, "train"),
        ({}, "kd", 2, True, "train"),
        ({"gpus_per_worker": 0.5}, "kd", 1, True, "train"),
        ({}, "teacher", 1, True, "train"),
        ({"engine": "inline"}, "teacher", 1, False, "inline"),
        ({"engine": "train"}, "kd", 1, True, "train"),
    ],
)
def test_an_engine_is_chosen_for_each_trial(
    execution: dict[str, Any], arm: str, workers: int, local: bool, engine: str
) -> None:
    assert parse(ExecutionConfig, execution).engine_of(arm, workers, local=local) == engine


def test_a_trial_carries_its_engine_and_reserves_what_that_needs(config: Reader, tmp_path: Path) -> None:
    study = config()
    assert study.execution.engine == "auto"
    run = Driver(study, tmp_path).start().config
    assert run["execution"]["engine"] == "inline"
    capacity = ClusterCapacity(study.execution, nodes=lambda: [{"CPU": 8, DRIVER: 100, HEAD: 1}])
    resources = trial_resources(capacity)
    assert resources(run).bundles == [{"CPU": 1.0}]
    assert resources({"execution": {"engine": "train"}}).bundles == [{DRIVER: 1.0}]


def test_a_study_from_before_engines_were_chosen_keeps_its_own(config: Reader, tmp_path: Path) -> None:
    """It named Ray Train, whether or not its file did; and it knew no interval."""
    create_study(config(), tmp_path / "run")
    held = tmp_path / "run" / CONFIG
    values = json.loads(held.read_text())
    values["execution"]["engine"] = "train"
    del values["execution"]["checkpoint_every"]
    held.write_text(json.dumps(values))
    execution = read_config(tmp_path / "run").execution
    assert (execution.engine, execution.checkpoint_every) == ("train", "10 min")
    assert execution.engine_of("kd", 1, local=True) == "train"


@pytest.mark.parametrize("value", [500, "90 s", None])
def test_the_interval_of_checkpoints_is_no_part_of_a_trial(config: Reader, value: Any) -> None:
    one, other = config(), config(execution={"checkpoint_every": value})
    assert other.execution.checkpoint_every == value
    assert one.trial("baseline", {}, None) == other.trial("baseline", {}, None)


def test_what_is_no_interval_is_refused(study_file: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError) as raised:
        load(str(study_file(execution={"checkpoint_every": "often"})))
    assert raised.value.faults == [
        "execution.checkpoint_every: must be iterations or a time above 0, such as 500 or '10 min', or null for "
        "checkpoints at evaluations alone, but got 'often'"
    ]


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What trials report to Tune."""
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", found.append)
    return found


def kept(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reproducible(report).items() if name != CHECKPOINT}


def test_a_trial_stopped_before_its_first_evaluation_reports_what_an_undisturbed_one_does(
    config: Reader, tmp_path: Path, reported: list[dict[str, Any]]
) -> None:
    run = Driver(config(**CHANGES, train__evaluate_every=3), tmp_path).start().config
    for name in ("undisturbed", "stopped"):
        (tmp_path / name / "trials").mkdir(parents=True)
    undisturbed, stopped = (
        {**run, "folder": str(tmp_path / name / "trials" / "0"), "checkpoints": str(tmp_path / name / "trials" / "0")}
        for name in ("undisturbed", "stopped")
    )
    run_trial(undisturbed)
    expected = [kept(report) for report in reported]
    assert [report["iteration"] for report in expected] == [3, 6, 6] and FINAL in expected[-1]
    reported.clear()

    requests = Requests(tmp_path / "stopped" / REQUEST)
    requests.ask(Request.STOP)
    for iteration in (1, 2):
        run_trial(stopped)
        assert reported == [{STOPPED: True, "iteration": iteration}]
        reported.clear()
    requests.ask(Request.NONE)
    run_trial(stopped)
    assert [kept(report) for report in reported] == expected


def test_what_is_raised_twice_at_one_place_is_not_tried_again(
    config: Reader, tmp_path: Path, reported: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Driver(config(**CHANGES), tmp_path).start().config

    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("by peer")

    def broken(*_: object, **__: object) -> None:
        print("so far so good")
        raise TypeError("no such sum")

    for raises, kind in ((broken, TypeError), (lost, ConnectionResetError), (lost, ConnectionResetError)):
        monkeypatch.setattr(execution_of_trials, "attempt", raises)
        with pytest.raises(kind):
            run_trial(run)
    monkeypatch.setattr(execution_of_trials, "attempt", broken)
    run_trial(run)
    (last,) = reported
    assert last["error"] == "TypeError: no such sum"
    assert "in broken" in last[TRACEBACK] and last[TRACEBACK].endswith("TypeError: no such sum\n")
    assert log_file(Path(run["folder"])).read_text().count("so far so good\n") == 2


def test_an_error_that_no_retry_would_mend_comes_with_its_traceback(
    config: Reader, tmp_path: Path, reported: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("labels must be below 11")

    run = Driver(config(**CHANGES), tmp_path).start().config
    monkeypatch.setattr(worker, "train", refuse)
    run_trial(run)
    (last,) = reported
    assert last["error"] == "ValueError: labels must be below 11" and "in refuse" in last[TRACEBACK]


def test_a_trial_that_left_a_checkpoint_is_left_to_the_next_driver(
    config: Reader, tmp_path: Path, reported: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    driver = Driver(config(**CHANGES), tmp_path)
    trial = driver.start()
    scheduler = LedgerScheduler(driver.arms, "eval/miou_percent", driver.drain)
    driver.drain.begin()
    trial.last_result = {STOPPED: True, "iteration": 5}
    assert scheduler.on_trial_result(None, trial, trial.last_result) == "STOP"
    driver.recorder.on_trial_result(0, [], trial, trial.last_result)
    driver.recorder.on_trial_complete(0, [], trial)
    assert "baseline 0: stopped at iteration 5, to go on from there" in capsys.readouterr().err
    assert driver.rows("trials") == driver.rows("reports") == []
    driver.arms["baseline"].leave()
    again = open_arms(driver.config, tmp_path, with_teacher=False)["baseline"].ask()
    assert again is not None and (again.number, again.attempt) == (0, 2)

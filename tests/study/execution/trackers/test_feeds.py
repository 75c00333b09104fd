"""What trackers get of a study, read back from what they wrote; and that none of them can harm it."""

import csv
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import StudyConfig
from study.execution.recording import recorder
from study.execution.trackers import feeds
from study.execution.trackers.feeds import Trackers
from tests.study.execution.recording.test_recorder import Driver
from trainers.worker import CHECKPOINT

Reader = Callable[..., StudyConfig]
ARMS = {"baseline": {"trials": 2, "space": "optimizer"}}


class Study:
    """A study with trackers, and what they say."""

    def __init__(self, config: StudyConfig, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.driver = Driver(config, folder)
        self.trackers = Trackers(config, folder, self.said.append)
        self.driver.recorder._trackers = self.trackers

    def trial(self, *reports: dict[str, Any], failed: bool = False) -> None:
        trial = self.driver.start()
        for values in reports:
            self.driver.result(trial, **values)
        self.driver.result(trial, **({"error": "ValueError: x"} if failed else {"final": True}), **reports[-1])
        self.driver.recorder.on_trial_complete(0, [], trial)
        self.driver.searcher.on_trial_complete(str(self.driver.asked))


@pytest.fixture
def study(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    return lambda *trackers: Study(config(arms=ARMS, execution={"trackers": list(trackers)}), tmp_path)


TWO = ({"iteration": 2}, {"iteration": 4, "eval/miou_percent": 30.0, "train/term/late": 0.5})


def test_tensorboard_has_every_metric_by_iteration_and_the_verdict(study: Callable[..., Study]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = study("tensorboard")
    found.trial(*TWO)
    found.trackers.verdict("baseline wins\nby far")
    found.trackers.close()
    assert not found.said
    place = found.folder / "trackers" / "tensorboard"
    events = EventAccumulator(str(place / "baseline-0")).Reload()
    miou = [(one.step, one.value) for one in events.Scalars("ray/tune/eval/miou_percent")]
    assert miou == [(2, 20.0), (4, 30.0)]
    expected = {"train/loss", "train/learning_rate", "time/step_ms", "memory/peak_mib", "train/term/kd/pixel"}
    assert expected <= {tag.removeprefix("ray/tune/") for tag in events.Tags()["scalars"]}
    assert "_hparams_/session_start_info" in events.summary_metadata
    text = EventAccumulator(str(place / "study")).Reload().Tensors("verdict/text_summary")[0].tensor_proto
    assert text.string_val[0].decode() == "    baseline wins\n    by far"


def read_csv(found: Study, trial: str) -> list[dict[str, str]]:
    with (found.folder / "trackers" / "csv" / trial / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_line_an_evaluation_whatever_is_reported_when(study: Callable[..., Study]) -> None:
    found = study("csv")
    found.trial(*TWO, {"iteration": 6})
    found.trackers.verdict("baseline wins")
    found.trackers.close()
    rows = read_csv(found, "baseline-0")
    assert [row["training_iteration"] for row in rows] == ["2", "4", "6"]
    assert [row["train/term/late"] for row in rows] == ["", "0.5", ""]
    assert [row["eval/miou_percent"] for row in rows] == ["20.0", "30.0", "20.0"]
    assert {None} not in [row.keys() for row in rows] and not any(
        "trial_id" in row or CHECKPOINT in row for row in rows
    )
    assert (found.folder / "trackers" / "csv" / "verdict.txt").read_text() == "baseline wins"


def test_a_trial_that_goes_on_under_another_driver_goes_on_in_its_file(study: Callable[..., Study]) -> None:
    first = study("csv")
    trial = first.driver.start()
    first.driver.result(trial, iteration=2)
    first.driver.arms["baseline"].leave()
    first.trackers.close()
    again = study("csv")
    again.trial({"iteration": 2}, {"iteration": 4})  # it reports again what it had reported
    again.trackers.close()
    assert [row["training_iteration"] for row in read_csv(again, "baseline-0")] == ["2", "4"]


def test_mlflow_has_a_run_a_trial_that_goes_on_with_it(
    study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to make
    uri = (tmp_path / "runs").as_uri()
    first = study({"mlflow": {"uri": uri, "experiment": "mine"}})
    trial = first.driver.start()
    first.driver.result(trial, iteration=2)
    first.driver.arms["baseline"].leave()
    first.trackers.close()
    again = study({"mlflow": {"uri": uri, "experiment": "mine"}})
    again.trial({"iteration": 2}, {"iteration": 4})
    again.trial({"iteration": 2}, failed=True)
    again.trackers.verdict("baseline wins")
    again.trackers.close()
    assert not first.said + again.said

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "baseline-0": "FINISHED", "baseline-1": "FAILED", "study": "FINISHED",
    }  # fmt: skip
    run = runs["baseline-0"]
    history = client.get_metric_history(run.info.run_id, "eval/miou_percent")
    assert [(one.step, one.value) for one in history] == [(2, 20.0), (4, 20.0)]
    assert run.data.params["train/optimizer/lr"] == str(trial.config["values"]["train/optimizer/lr"])
    assert {"train/loss", "time/step_ms", "memory/peak_mib"} <= run.data.metrics.keys()
    assert runs["study"].data.tags["mlflow.note.content"] == "baseline wins"


def test_wandb_writes_runs_that_can_be_uploaded_later(study: Callable[..., Study]) -> None:
    found = study({"wandb": {"project": "mine", "mode": "offline"}})
    found.trial(*TWO)
    found.trackers.verdict("baseline wins")
    found.trackers.close()
    assert not found.said
    runs = sorted((found.folder / "trackers" / "wandb").glob("wandb/offline-run-*/run-*.wandb"))
    assert len(runs) == 2
    (trial,) = (run for run in runs if "baseline-0" in run.name)
    (own,) = (run for run in runs if run.name.endswith("-study.wandb"))
    content = trial.read_bytes()
    for name in (b"eval/miou_percent", b"train/learning_rate", b"time/step_ms", b"train/optimizer/lr"):
        assert name in content
    assert b"baseline wins" in own.read_bytes()


def test_wandb_without_a_key_is_said_and_asks_nobody(
    study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = study("wandb", "csv")
    found.trial(*TWO)
    found.trackers.close()
    assert len(found.said) == 1
    assert "execution.trackers: wandb gets nothing more: ValueError: no API key is known; wandb login" in found.said[0]
    assert len(read_csv(found, "baseline-0")) == 2


class Broken:
    """Takes one report and then fails."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def setup(self) -> None:
        pass

    def log_trial_start(self, trial: Any) -> None:
        pass

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        if self.got:
            raise OSError(28, "No space left on device")
        self.got.append(result["training_iteration"])


def test_a_tracker_that_fails_is_said_once_and_the_study_goes_on(
    study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, make = Broken(), feeds._makers
    monkeypatch.setattr(feeds, "_makers", lambda *given: {**make(*given), "tensorboard": lambda: broken})
    found = study("tensorboard", "csv")
    for _ in range(2):
        found.trial({"iteration": 2}, {"iteration": 4})
    found.trackers.close()
    assert broken.got == [2]
    assert found.said == [
        "warning: execution.trackers: tensorboard gets nothing more: OSError: [Errno 28] No space left on device; the "
        "study goes on, and its tables have everything"
    ]
    assert [row["state"] for row in found.driver.rows("trials")] == ["COMPLETE"] * 2
    assert len(read_csv(found, "baseline-1")) == 2


def test_a_tracker_that_hangs_is_left_behind(study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    makers = {"csv": release.wait}
    monkeypatch.setattr(feeds, "_makers", lambda *_: makers)
    found = study("csv")
    found.trial({"iteration": 2})
    found.trackers.close(seconds=0.01)
    release.set()
    assert found.said == [
        "warning: execution.trackers: csv is not done after 0 s; what it does not have yet is lost to it"
    ]


def test_a_study_without_trackers_starts_no_thread(study: Callable[..., Study]) -> None:
    before = threading.active_count()
    found = study()
    found.trial({"iteration": 2})
    assert threading.active_count() == before and not found.trackers
    assert not (found.folder / "trackers").exists()

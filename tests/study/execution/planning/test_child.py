"""What a process that stands for a trial answers, without a process."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import StudyConfig
from study.configuration.prices import priced_trial, teacher_network
from study.execution.planning.answers import MEASURE, TIME_STEPS, TRAIN
from study.execution.planning.child import answer
from trainers.config import plain

Config = Callable[..., StudyConfig]


def answers(trial: Any, folder: Path, requests: str = "\n", *, do: str = MEASURE) -> list[dict[str, Any]]:
    return answered(folder, requests, do=do, trial=plain(trial))


def answered(folder: Path, requests: str = "\n", **about: Any) -> list[dict[str, Any]]:
    request = {
        **about,
        "folder": str(folder),
        "loader_workers": 0,
        "gpu_share": 0,
        "import_s": 1.0,
    }
    written = io.StringIO()
    answer(request, io.StringIO(requests), written)
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.costs.trial.STEPS_S", 0.0)
    monkeypatch.setattr("trainers.costs.trial.EVALUATIONS_S", 0.0)


def test_memory_comes_first_and_times_when_they_are_asked_for(config: Config, tmp_path: Path) -> None:
    memory, times = answers(priced_trial(config(), "baseline", {}), tmp_path)
    assert memory["memory"]["host_mib"] > 0 and memory["import_s"] == 1.0
    assert times["times"]["steps"] > 0
    with pytest.raises(SystemExit):
        answers(priced_trial(config(), "baseline", {}), tmp_path, requests="")


def test_a_trial_is_trained_to_its_end(config: Config, tmp_path: Path) -> None:
    trial = priced_trial(config(), "baseline", {})
    short = replace(trial, train=replace(trial.train, iterations=2))
    (found,) = answers(short, tmp_path, do=TRAIN)
    assert found["report"]["iteration"] == 2


def test_steps_are_timed_alone_as_when_a_study_begins(config: Config, tmp_path: Path) -> None:
    study = config()
    trials = {name: plain(priced_trial(study, name, {})) for name in ("baseline", "rdd")}
    about = {"trials": trials, "teacher": plain(teacher_network(study)), "plugins": {}}
    (found,) = answered(tmp_path, do=TIME_STEPS, **about)
    assert set(found["steps"]) == {"baseline", "rdd"}
    assert all(seconds > 0 for seconds in found["steps"].values())
    about["trials"] = {"rdd": {**trials["rdd"], "student": "none"}}
    (fault,) = answered(tmp_path, do=TIME_STEPS, **about)
    assert "student" in fault["error"]


def test_whatever_a_trial_raises_is_its_fault(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = priced_trial(config(), "baseline", {})

    def failing(error: Exception) -> dict[str, Any]:
        def step(*_: object) -> None:
            raise error

        monkeypatch.setattr("trainers.costs.trial.step", step)
        (found,) = answers(trial, tmp_path)
        return found

    assert failing(KeyError("tap")) == {
        "error": "KeyError: 'tap'",
        "lacks": None,
        "peak_mib": pytest.approx(0, abs=1e6),
    }
    assert failing(RuntimeError("CUDA error: out of memory\nmore"))["lacks"] == "GPU"
    assert failing(MemoryError())["lacks"] == "host"

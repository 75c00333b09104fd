"""A study of two objectives, from the searcher to the tables, under one driver and several. No cluster is started."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.pareto.fronts import pareto
from analysis.studies.study import open_study
from study.configuration.config import StudyConfig
from study.configuration.objectives import students as students_module
from study.configuration.objectives.students import Size, TimedStudent
from study.execution.pricing import _time
from study.execution.recording import recorder
from study.folder import create_study
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import plain

Reader = Callable[..., StudyConfig]
CHANNELS = "student/head_channels"


def times(students: Mapping[str, TimedStudent], size: Size, classes: int) -> dict[str, tuple[float, str]]:
    return {key: (float(one.network.head_channels), "48x64") for key, one in students.items()}


@pytest.fixture
def config(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Reads a study of one arm that searches its student."""
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    space = tmp_path / "student.yaml"
    space.write_text(f"{CHANNELS}: {{type: categorical, choices: [8, 16], default: 16}}\n")

    def read(*objectives: str) -> StudyConfig:
        arms = {"baseline": {"trials": 8, "space": ["optimizer", str(space)]}}
        search = {"objectives": ["miou", *objectives]}
        return config(arms=arms, search=search, pruning={"kind": "none"}, startup_trials=2)

    return read


def drive(config: StudyConfig, folder: Path, starts: int) -> list[dict[str, Any]]:
    """The rows of a study whose driver is replaced so often while a trial runs."""
    create_study(config, folder)
    driver, dying = Driver(config, folder, measure=times), [*range(1, 2 * starts, 2)][: starts - 1]
    while not driver.arms["baseline"].exhausted:
        trial = driver.start()
        number, values = trial.config["number"], trial.config["values"]
        driver.result(trial)
        if number in dying:
            dying.remove(number)
            driver = Driver(config, folder, measure=times)
            trial = driver.start()
            assert (trial.config["number"], trial.config["values"]) == (number, values)
        score = 30 + values[CHANNELS] - 100 * abs(values["train/optimizer/lr"] - 0.05)
        driver.result(trial, iteration=12, **{"eval/miou_percent": score})
        trial.last_result["final"] = True
        driver.recorder.on_trial_complete(0, [], trial)
        driver.searcher.on_trial_complete(str(driver.asked))
    driver.tables.close()
    assert driver.arms["baseline"].finished
    return driver.rows("trials")


def test_several_drivers_try_what_one_would_have_tried(config: Reader, tmp_path: Path) -> None:
    one = drive(config("latency_ms"), tmp_path / "one", starts=1)
    several = drive(config("latency_ms"), tmp_path / "several", starts=3)
    searched = [name for name in one[0] if name.startswith("param/")]
    assert len(one) == 8 and {row["attempts"] for row in several} == {1, 2}
    assert [[row[name] for name in searched] for row in one] == [[row[name] for name in searched] for row in several]
    for row in one:
        assert row["latency_ms"] == row[f"param/{CHANNELS}"] and row["latency_conditions"] == "48x64"
        assert row["parameters"] > 0 and row["multiply_accumulates"] > 0 and row["peak_memory_mib"] == 100.0
    found = pareto(open_study(tmp_path / "one"))
    assert found.fronts[0].costs == ("latency_ms",) and found.fronts[0].trials.num_rows >= 1


def test_a_trial_without_a_value_of_an_objective_fails_and_says_why(config: Reader, tmp_path: Path) -> None:
    driver = Driver(config("peak_memory_mib"), tmp_path, measure=times)
    trial = driver.start()
    driver.result(trial, final=True, **{"memory/peak_mib": None})
    driver.recorder.on_trial_complete(0, [], trial)
    (row,) = driver.rows("trials")
    assert row["state"] == "FAIL" and row["error"] == "peak_memory_mib must be finite to be searched, but got None"


def test_students_are_timed_where_only_plain_values_come(config: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of the cluster."""
    monkeypatch.setattr(students_module, "SECONDS", 0.05)
    student = TimedStudent(network=config("latency_ms").student, threads=1)
    ((key, (latency, conditions)),) = _time({student.key: plain(student)}, (48, 64), 11, {}, False).items()
    assert key == student.key and latency > 0 and conditions == "48x64, float32, cpu, 1 CPU thread"

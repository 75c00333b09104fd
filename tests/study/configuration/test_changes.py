"""Extending a study: what may change does, what may not is refused by name, and the former configuration is kept."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import yaml

from study import tables
from study.__main__ import main
from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.configuration.tuning import BudgetConfig
from study.execution import driver, runner
from study.execution.recording import recorder
from study.folder import create_study, read_config
from study.ledger.ledger import status
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import ConfigError, canonical_json
from trainers.data import streets

Reader = Callable[..., StudyConfig]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own part of a resume, with trials that all train well and at once."""
    monkeypatch.setattr(recorder, "release", lambda _: None)
    monkeypatch.setattr(runner.session, "connected", lambda *_, **__: nullcontext())
    monkeypatch.setattr(driver, "drive", lambda start: finish(start.folder))


def refused(config: StudyConfig, *sets: str, **asked: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Changes(sets=sets, **asked).apply(config)
    return caught.value.faults


def test_budgets_rise_in_all_arms_or_in_those_that_are_named(config: Reader) -> None:
    study = config()
    assert [arm.trials for arm in Changes(trials=64).apply(study).arms.values()] == [64, 64]
    assert [arm.trials for arm in Changes(trials=64, arms=("rdd",)).apply(study).arms.values()] == [2, 64]
    assert Changes(trials=4, arms=("rdd",)).apply(study) == study, "a command that is repeated changes nothing more"
    for lowered in (refused(study, trials=3), refused(study, "arms.rdd.trials=3")):
        (fault,) = lowered
        assert fault.startswith("arms.rdd.trials: must be at least 4, the budget that the arm has, but got 3; name")


def test_budgets_by_cost_rise_too(config: Reader) -> None:
    study = config(budget={"whole_trials": 6}, arms__rdd__budget={"iterations": 60})
    raised = Changes(sets=("budget.whole_trials=8", "arms.rdd.budget.iterations=61")).apply(study)
    assert (raised.budget, raised.arms["rdd"].budget) == (
        BudgetConfig(whole_trials=8),
        BudgetConfig(iterations=61),
    )
    lowered = refused(study, "budget.whole_trials=5.5", "arms.rdd.budget.iterations=59")
    assert [fault.partition(", the")[0] for fault in lowered] == [
        "budget.whole_trials: must be at least 6",
        "arms.rdd.budget.iterations: must be at least 60",
    ]
    (two_units,) = refused(study, "budget.iterations=99")
    assert two_units.startswith("budget: must name one of whole_trials, iterations, seconds")
    Changes(sets=("budget={iterations: 9}",)).apply(study)  # the ledger knows whether that is less


def test_where_trials_run_may_change(config: Reader) -> None:
    sets = ("execution.concurrent=3", "execution.engine=inline", "arms.rdd.trials=9")
    changed = Changes(sets=sets).apply(config())
    assert (changed.execution.concurrent, changed.execution.engine) == (3, "inline")
    assert changed.arms["rdd"].trials == 9
    # and is checked as a new study's is
    (fault,) = refused(config(train__workers=2), "execution.engine=inline")
    assert "inline trials have one worker" in fault


def test_gradients_may_be_compared_from_now_on(config: Reader) -> None:
    assert Changes(sets=("train.probe_every=5",)).apply(config()).train.probe_every == 5
    (fault,) = refused(config(train__compile=True), "train.probe_every=5")
    assert fault.startswith("train.probe_every takes gradients inside of a step")


def test_gradients_take_memory_so_they_wait_where_that_is_searched(config: Reader) -> None:
    for searched in ({"objectives": ["miou", "peak_memory_mib"]}, {"constraints": ["peak_memory_mib <= 900"]}):
        study = config(search=searched, pruning={"kind": "none"}, teacher__record="off")
        (fault,) = refused(study, "train.probe_every=5")
        assert fault.startswith("train.probe_every: must stay 0 while a study lasts, but got 5")
        (fault,) = refused(study, "teacher.record=auto")
        assert fault.startswith("teacher.record: must be off where peak memory is searched")
    bounded = config(search={"constraints": ["parameters <= 1e9"]}, pruning={"kind": "none"})
    assert Changes(sets=("train.probe_every=5",)).apply(bounded).train.probe_every == 5


def test_a_teacher_may_be_kept_elsewhere(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Changes(sets=("teacher.folder=kept",)).apply(config()).teacher.folder == str(tmp_path / "kept")


def test_what_a_study_began_with_is_no_fault_of_a_change(config: Reader) -> None:
    # as one that began before arms of other budgets were refused
    study = config()
    arms = {**study.arms, "baseline": replace(study.arms["baseline"], fixed={"train/iterations": 4})}
    changed = Changes(sets=("execution.concurrent=3",)).apply(replace(study, arms=arms))
    assert changed.execution.concurrent == 3


def test_every_other_field_is_refused_by_its_name(config: Reader) -> None:
    sets = ("train.batch=8", "arms.rdd.space=[kd]", "storage=sqlite:///x", "execution.loader_workers=1")
    found = refused(config(), *sets)
    assert [fault.partition(": ")[0] for fault in found] == ["arms.rdd.space", "storage", "train.batch"]
    assert found[2] == (
        "train.batch: must stay 4 while a study lasts, but got 8: new trials could not be compared with the old ones; "
        "put it back, or start another study"
    )
    assert "its trials are kept there" in found[1]
    (fault,) = refused(config(), "execution.gpus_per_worker=1")
    assert fault.startswith("execution.gpus_per_worker: ") and "do not give the same numbers" in fault


def test_trials_are_refused_where_cost_limits_an_arm(config: Reader) -> None:
    study = config(arms__baseline={"space": "optimizer"}, arms__rdd__trials=4, budget={"whole_trials": 3})
    (fault,) = refused(study, trials=5)
    assert fault.startswith(
        "arms.baseline.trials: must be left out where cost limits an arm, but got 5; it may spend 3 "
    )
    assert fault.endswith("whole trials, and more with --set budget.whole_trials=6")
    own = config(arms__baseline={"space": "optimizer", "budget": {"iterations": 90}})
    (fault,) = refused(own, trials=5, arms=("baseline",))
    assert fault.endswith("it may spend 90 iterations, and more with --set arms.baseline.budget.iterations=180")


def test_what_is_no_field_or_arm_is_refused(config: Reader) -> None:
    assert refused(config(), "execution.concurent=1") == [
        "execution.concurent: no such key; did you mean 'concurrent'?"
    ]
    assert refused(config(), trials=9, arms=("rd",)) == [
        "--arm must be an arm of the study, but got 'rd'; did you mean 'rdd'?"
    ]
    assert refused(config(), arms=("rdd",))[0].startswith("--arm must say whose")


def finish(folder: Path) -> bool:
    """Use every budget."""
    driver = Driver(read_config(folder), folder)
    while not all(arm.exhausted for arm in driver.arms.values()):
        trial = driver.start()
        driver.result(trial, iteration=12, final=True)
        driver.recorder.on_trial_complete(0, [], trial)
    driver.tables.close()
    return True


def test_a_finished_study_is_extended_and_its_former_configuration_kept(
    config: Reader, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "study"
    create_study(config(), folder)
    finish(folder)
    former = (folder / "study.json").read_text()
    for _ in range(2):  # a job that is restarted repeats its command
        assert main(["resume", str(folder), "--trials", "5", "--arm", "rdd", "--set", "execution.concurrent=1"]) == 0
    assert (folder / "study.1.json").read_text() == former and not (folder / "study.2.json").exists()
    counts = status(read_config(folder), folder)
    assert {arm: (count["budget"], count["COMPLETE"]) for arm, count in counts.items()} == {
        "baseline": (2, 2),
        "rdd": (5, 5),
    }


def test_a_failed_trial_of_a_finished_study_is_run_again(
    config: Reader, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "study"
    create_study(config(), folder)
    driver = Driver(read_config(folder), folder)
    lost = driver.start()
    driver.result(lost, error="MemoryError: none left")
    driver.recorder.on_trial_complete(0, [], lost)
    driver.tables.close()
    finish(folder)
    assert main(["resume", str(folder), "--retry-failed"]) == 0
    said = capsys.readouterr().err
    assert "failed trials to run again: none" in said and "retries only fill: baseline; raise it with --trials" in said
    assert main(["resume", str(folder), "--retry-failed", "--trials", "3", "--arm", "baseline"]) == 0
    assert "failed trials to run again: 1 of baseline" in capsys.readouterr().err
    counts = status(read_config(folder), folder)["baseline"]
    assert (counts["COMPLETE"], counts["FAIL"]) == (3, 1)
    rows = tables.read(folder / "tables", "trials").filter(pc.field("arm") == "baseline").to_pylist()
    (again,) = (row for row in rows if row["retry_of"] is not None)
    assert (again["retry_of"], again["state"]) == (lost.config["number"], "COMPLETE")
    assert again["config_hash"] == lost.config["hash"]


def test_refused_changes_leave_the_study_as_it_was(
    config: Reader, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "study"
    create_study(config(), folder)
    before = (folder / "study.json").read_text()
    assert main(["resume", str(folder), "--trials", "9", "--set", "seed=3"]) == 2
    assert "kdstudy: seed: must stay 1 while a study lasts" in capsys.readouterr().err
    assert (folder / "study.json").read_text() == before and not (folder / "study.1.json").exists()


def test_another_study_in_the_folder_is_told_by_what_differs(config: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    create_study(config(), folder)
    with pytest.raises(ValueError, match=r"holds another study already, which differs in seed, train.batch; choose"):
        create_study(config(seed=2, train__batch=8), folder)
    with pytest.raises(ValueError, match="holds this study already; go on with it: kdstudy resume"):
        create_study(config(), folder)


def test_a_new_study_tells_the_colours_of_its_classes(config: Reader, tmp_path: Path) -> None:
    create_study(config(), tmp_path / "study")
    classes = json.loads((tmp_path / "study" / "classes.json").read_text())
    assert tuple(row["name"] for row in classes) == streets.Dataset.class_names
    assert tuple(tuple(row["rgb"]) for row in classes) == streets.Dataset.palette


def test_a_study_searches_what_its_spaces_said_when_it_began(config: Reader, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"methods/kd/temperature": {"type": "float", "low": 1, "high": 2, "default": 1}}))
    folder = tmp_path / "study"
    create_study(config(arms__rdd__space=["rdd", str(own)]), folder)
    own.write_text("methods/kd/temperature: {type: float, low: 5, high: 9, default: 7}")
    kept = read_config(folder)
    assert kept.space("rdd").defaults()["methods/kd/temperature"] == 1
    own.unlink()
    assert set(kept.spaces) == {"optimizer", "rdd", str(own)}
    assert kept.space("rdd").values("methods/kd/temperature") == (1, 2)
    assert canonical_json(kept.with_spaces()) == canonical_json(kept)

"""Short replicates of a study's arms: which are trained, with which seeds, and what they counted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from study.configuration.config import StudyConfig
from study.execution.planning import replicates
from study.execution.planning.processes import Placement, TrialFaultError
from study.execution.planning.replicates import SEED_OFFSET, short_replicates, trainable_arms
from tests.study.conftest import write_teacher
from trainers.config import TrialConfig, plain
from trainers.context import LocalContext
from trainers.worker import attempt

Config = Callable[..., StudyConfig]


class InProcess:
    """Trains in this process what a process would."""

    trained: list[TrialConfig]
    folders: list[Path]

    def __init__(self, _: Placement) -> None:
        self.folder = InProcess.folders.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(self, trial: TrialConfig) -> None:
        InProcess.trained.append(trial)
        self._trial = trial

    def report(self) -> dict[str, Any]:
        report = attempt(plain(self._trial), LocalContext(self.folder), 0)
        if "error" in report:
            raise TrialFaultError(report["error"])
        return report


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    InProcess.trained, InProcess.folders = [], [tmp_path / f"trial-{n}" for n in range(9)]
    for folder in InProcess.folders:
        folder.mkdir()
    monkeypatch.setattr(replicates, "TrialProcess", InProcess)


def test_arms_without_a_teacher_that_is_not_there_are_trained_with_new_seeds(config: Config) -> None:
    study = config()
    found = short_replicates(study, trainable_arms(study), 2)
    assert found.arms == ("baseline",)
    assert found.iterations == study.train.evaluate_every
    assert found.counts.shape == (1, 2, 8, len(study.class_names), 3)
    assert len(found.groups) == 8
    assert [trial.init_seed for trial in InProcess.trained] == [study.seed + SEED_OFFSET, study.seed + SEED_OFFSET + 1]
    assert {trial.data_seed for trial in InProcess.trained} == {trial.init_seed for trial in InProcess.trained}
    assert not np.array_equal(found.counts[0, 0], found.counts[0, 1])


def test_with_a_teacher_every_arm_is_trained_with_the_same_seeds(config: Config, tmp_path: Path) -> None:
    study = config(teacher__file=str(write_teacher(tmp_path / "teacher.safetensors")))
    found = short_replicates(study, trainable_arms(study), 2)
    assert found.arms == ("baseline", "rdd")
    assert found.counts.shape[:2] == (2, 2)
    seeds = [trial.init_seed for trial in InProcess.trained]
    assert sorted(set(seeds)) == sorted(seeds[:2]) and len(seeds) == 4


def test_one_that_fails_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InProcess, "report", lambda self: (_ for _ in ()).throw(TrialFaultError("no memory", "host")))
    with pytest.raises(ValueError, match="baseline: a short replicate must train, but no memory"):
        short_replicates(config(), ["baseline"], 2)


def test_one_has_no_spread(config: Config) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        short_replicates(config(), ["baseline"], 1)


def test_the_plain_arm_is_the_one_that_others_are_held_against(config: Config, teacher_file: Path) -> None:
    arms = {"kd": {"trials": 2, "methods": {"kd": {}}}, "student": {"trials": 2}}
    assert trainable_arms(config(arms=arms, teacher__file=str(teacher_file))) == ("student", "kd")


def test_without_a_teacher_there_must_be_an_arm_that_has_none(config: Config, teacher_file: Path) -> None:
    arms = {"baseline": {"trials": 2, "methods": {"kd": {}}}}
    with pytest.raises(
        ValueError, match=r"every arm distils .* trained first; kdstudy teacher STUDY, or give --noise-"
    ):
        trainable_arms(config(arms=arms))
    assert trainable_arms(config(arms=arms, teacher__file=str(teacher_file))) == ("baseline",)

"""What is typed on top of a study wins, or is refused; nothing of it is lost in silence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.commands.trials.train import arm_trial
from study.configuration.config import StudyConfig
from study.configuration.settings import check_reach, with_settings
from trainers.config import ConfigError

Reader = Callable[..., StudyConfig]
LR = "train.optimizer.lr=0.01"


@pytest.mark.parametrize(
    ("setting", "changes", "is_fault", "message"),
    [
        (
            LR,
            {"arms__rdd__space": ["optimizer", "rdd"]},
            True,
            f"--set {LR} does not reach baseline, rdd, which fix or",
        ),
        (
            LR,
            {},
            False,
            f"--set {LR} does not reach baseline, which fix or search train/optimizer/lr themselves; only",
        ),
        ("train={optimizer: {lr: 0.01}}", {}, False, f"--set {LR} does not reach baseline"),
        ("arms.rdd.task.threshold=0.6", {}, True, "--set arms.rdd.task.threshold=0.6 does not reach rdd"),
        ("train.batch=2", {"arms__baseline__fixed": {"train/batch": 4}}, False, "does not reach baseline"),
        ("train.batch=2", {}, None, ""),
        ("seed=2", {}, None, ""),
        ("arms.baseline.trials=2", {}, None, ""),
        ("teacher.train.optimizer.lr=0.01", {}, None, ""),
    ],
)
def test_a_setting_reaches_the_trials_that_it_is_meant_for(
    setting: str, changes: dict[str, object], is_fault: bool | None, message: str, config: Reader
) -> None:
    found = list(check_reach(config(**changes), [setting]))
    assert [finding.is_fault for finding in found] == ([] if is_fault is None else [is_fault])
    assert all(message in finding.text for finding in found)


def test_what_is_typed_wins_over_what_an_arm_fixes_or_searches(
    config: Reader, teacher_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = config(teacher={"file": str(teacher_file)}, arms__rdd__fixed={"train/optimizer/momentum": 0.5})
    sets = [
        "train.optimizer.momentum=0.8",
        "arms.rdd.task.tfe_fraction=1.0",
        "arms.rdd.methods.kd.temperature=3",
        "train.batch=2",
    ]
    trial = arm_trial(study, "rdd", sets)
    assert trial.task.tfe_fraction == 1.0 and trial.methods["kd"].temperature == 3
    # of the study itself, in which load has placed what is typed; this one was read without
    assert trial.train.optimizer.momentum == 0.8
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" stands")[0] for line in said] == [f"kdstudy: --set {setting}" for setting in sets[:3]]


def test_settings_that_cannot_be_placed_are_refused_together() -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings({"arms": {"one": {}}}, ["seed", "train/batch=2", "arms.two.trials=1", "seed=[1"])
    assert len(caught.value.faults) == 4
    assert with_settings({"seed": 1}, ["train.batch=2", "seed=3"]) == {"seed": 3, "train": {"batch": 2}}

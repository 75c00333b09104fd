"""As much of a faulty study as can be read: its faults, and what is not what was asked for."""

from typing import Any

import pytest

from study.configuration.partial import read_partially
from tests.study.conftest import tiny

ARMS = {"one": {"trials": 2}, "other": {"trials": 2}}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"seed": -1}, ["seed"]),
        ({"train__batch": "four"}, ["train.batch"]),
        ({"train": None}, ["train"]),
        ({"augment__crop": [48]}, ["augment.crop"]),
        ({"train__optimizer__lrr": 1}, ["train.optimizer.lr", "train.optimizer.lrr"]),
        ({"student": {"architecture": "nosuch"}}, ["student"]),
        ({"arms__one__methods": {"nosuch": {}}}, ["arms.one.methods.nosuch"]),
        (
            {"arms__one__trials": 0, "arms__other__task": {"weighting": "nosuch"}},
            ["arms.one.trials", "arms.other.task"],
        ),
        ({"teacher": {"train": {"batch": 4}}}, ["teacher.train.evaluate_every", "teacher.train.iterations"]),
        ({"arms": []}, ["arms"]),
    ],
)
def test_what_cannot_be_read_is_left_out_and_remembered(changes: dict[str, Any], broken: list[str]) -> None:
    reading = read_partially(tiny(**{"arms": ARMS, **changes}))
    assert reading.config is not None
    assert sorted(reading.broken) == broken
    assert bool(reading.faults) == bool(broken)


def test_what_stands_in_makes_no_faults_of_its_own() -> None:
    values = tiny(arms=ARMS)
    del values["train"], values["name"]
    assert read_partially(values).faults == ("name: is required", "train: is required")


def test_what_is_no_study_at_all_is_not_read() -> None:
    reading = read_partially({"Arms": 1})
    assert reading.config is None or reading.faults
    assert "data: is required" in reading.faults

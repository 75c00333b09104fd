"""Arms that do not compare are refused, wherever the difference is set; what a study compares is let through."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.configuration.checks.arms import read_arm
from study.configuration.checks.comparability import check_comparable, check_compares
from study.configuration.config import StudyConfig
from tests.study.conftest import tiny
from trainers.config import parse

BATCHES = {"train/batch": {"type": "int", "low": 2, "high": 4, "default": 4}}
SEEDS = {"data_seed": {"type": "int", "low": 0, "high": 4, "default": 1}}
JUDGES = {"evaluate_on": {"type": "categorical", "choices": ["val", "test"], "default": "val"}}
LONG = {"train/iterations": {"type": "int", "low": 2, "high": 12, "default": 12}}
FLIPS = {"augment/flip": {"type": "categorical", "choices": [True, False], "default": True}}

Finder = Callable[..., list[str]]


@pytest.fixture
def found(tmp_path: Path) -> Finder:
    """The faults, or with `warnings` those, of a study with these arms, whose spaces are mappings."""

    def of(arms: dict[str, Any], *, warnings: bool = False, **changes: Any) -> list[str]:
        written = {name: {"trials": 2, **arm, "space": [write(space) for space in arm.get("space", ())]}
                   for name, arm in arms.items()}  # fmt: skip
        config = parse(StudyConfig, {**tiny(**changes), "arms": written})
        spaces = {name: read_arm(config, name).space for name in config.arms}
        findings = [*check_comparable(config, spaces), *check_compares(config, spaces)]
        return [finding.text for finding in findings if finding.is_fault != warnings]

    def write(space: dict[str, Any]) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(space))
        return str(path)

    return of


def fixed(path: str, value: Any) -> dict[str, Any]:
    return {
        "fixed": {path: value},
        "space": [{"train/optimizer/lr": {"type": "float", "low": 0.1, "high": 1, "default": 0.1}}],
    }


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("evaluate_on", "test", "the images"),
        ("holdout", 0.2, "the images"),
        ("data_seed", 7, "the images"),
        ("data/train_images", 8, "the images"),
        ("augment/scale", [1.0, 1.0], "the images"),
        ("augment/jitter/hue", 0.1, "the images"),
        ("train/iterations", 40, "the budget"),
        ("train/batch", 2, "the budget"),
    ],
)
def test_one_arm_may_not_fix_what_makes_arms_comparable(path: str, value: Any, what: str, found: Finder) -> None:
    (fault,) = found({"one": {}, "other": fixed(path, value)})
    assert fault.startswith(f"arms.other.fixed: {path} decides {what} and must be the same in all arms, but is ")
    assert fault.split(" and here ")[1].startswith(repr(value))


@pytest.mark.parametrize(
    ("path", "value"), [("train/iterations", 12), ("evaluate_on", "val"), ("augment/crop", [48, 64]), ("data_seed", 1)]
)
def test_what_is_fixed_at_the_study_s_own_value_changes_nothing(path: str, value: Any, found: Finder) -> None:
    assert found({"one": {}, "other": fixed(path, value)}) == []


@pytest.mark.parametrize("space", [BATCHES, SEEDS, JUDGES, LONG, FLIPS])
def test_one_arm_may_not_search_it(space: dict[str, Any], found: Finder) -> None:
    (path,) = space
    (fault,) = found({"one": {}, "other": {"space": [space]}})
    assert fault.startswith(f"arms.other.space: {path} decides ") and "and is searched here" in fault


@pytest.mark.parametrize(
    ("space", "allowed"), [(BATCHES, True), (FLIPS, True), (SEEDS, False), (JUDGES, False), (LONG, False)]
)
def test_all_arms_may_search_batch_and_augmentation_alike(space: dict[str, Any], allowed: bool, found: Finder) -> None:
    assert len(found({"one": {"space": [space]}, "other": {"space": [space]}})) == (0 if allowed else 2)


def test_searching_it_otherwise_is_not_alike(found: Finder) -> None:
    (path,) = BATCHES
    other = {path: {**BATCHES[path], "high": 6}}
    assert len(found({"one": {"space": [BATCHES]}, "other": {"space": [other]}})) == 2
    assert len(found({"one": {"space": [BATCHES]}, "other": fixed(path, 2)})) == 2


def test_all_arms_may_fix_batch_and_augmentation_alike_but_not_the_budget(found: Finder) -> None:
    assert found({"one": fixed("train/batch", 2), "other": fixed("train/batch", 2)}) == []
    assert len(found({"one": fixed("train/iterations", 4), "other": fixed("train/iterations", 4)})) == 2


@pytest.mark.parametrize(
    ("compares", "arm", "allowed"),
    [
        (["train/iterations"], fixed("train/iterations", 4), True),
        (["train/iterations"], {"space": [LONG]}, True),
        (["train/iterations"], fixed("train/batch", 2), False),
        (["train/iterations", "train/batch"], fixed("train/batch", 2), True),
        (["augment"], fixed("augment/jitter/hue", 0.1), True),
        (["augment/flip"], fixed("augment/jitter/hue", 0.1), False),
        (["data_seed"], {"space": [SEEDS]}, True),
    ],
)
def test_what_a_study_compares_may_differ(
    compares: list[str], arm: dict[str, Any], allowed: bool, found: Finder
) -> None:
    assert (found({"one": {}, "other": arm}, compares=compares) == []) == allowed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compares": ["evaluate_on"]}, "scores on different images do not compare, but got 'evaluate_on'"),
        ({"compares": ["data"]}, "scores on different images do not compare"),
        (
            {"compares": ["holdout"], "evaluate_on": "holdout", "holdout": 0.2},
            "scores on different images do not compare",
        ),
        ({"compares": ["train/iteration"]}, "but got 'train/iteration'; did you mean 'train/iterations'?"),
        ({"compares": ["task/threshold"]}, "must name what all arms have alike otherwise, but got 'task/threshold'"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, Any], message: str, found: Finder) -> None:
    (fault,) = found({"one": {}, "other": {}}, **changes)
    assert fault.startswith("compares: ") and message in fault


def test_a_comparison_of_nothing_is_warned_of(found: Finder) -> None:
    (line,) = found({"one": {}, "other": {}}, warnings=True, compares=["train/iterations"])
    assert line.startswith("compares: train/iterations is the same in all arms")


def test_replicates_hold_beside_each_other_what_was_searched_alike(found: Finder) -> None:
    source = {"study": "tiny", "folder": "x", "arm": "one", "trial": 0, "config_hash": "0", "miou_percent": 1.0}
    arms = {"one": {"fixed": {"train/batch": 2}}, "other": {"fixed": {"train/batch": 3}}}
    assert len(found(arms)) == 2
    assert found(arms, replicates={"one": source, "other": source}) == []

"""The table `images`: written by whoever drives a study, also one that ended before there was such a table."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study import tables
from study.__main__ import main
from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.execution import runner
from study.execution.recording import recorder
from study.execution.recording.image_groups import record_groups
from study.folder import create_study
from tests.study.configuration.test_changes import finish
from tests.trainers.trees import camvid_tree
from trainers.config import ConfigError

Reader = Callable[..., StudyConfig]


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read(folder / "tables", "images").to_pylist()
    return found


def test_every_judged_image_has_its_group_once(config: Reader, tmp_path: Path) -> None:
    study = config(groups=r"(\d)$")
    for _ in range(2):
        assert record_groups(study, tmp_path) is None
    assert rows(tmp_path) == [
        {"split": "val", "image": f"val/{number:05d}", "group": str(number % 10)} for number in range(8)
    ]


def test_a_holdout_is_another_split(config: Reader, tmp_path: Path) -> None:
    record_groups(config(evaluate_on="holdout", holdout=0.3), tmp_path)
    assert {row["split"] for row in rows(tmp_path)} == {"holdout"}
    assert all(row["image"] == row["group"] and row["image"].startswith("train/") for row in rows(tmp_path))


def test_a_finished_study_without_the_table_gains_it_when_resumed(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)
    study = config()
    create_study(study, tmp_path / "run")
    finish(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "tables" / "images", ignore_errors=True)
    assert runner.resume(tmp_path / "run")
    assert len(rows(tmp_path / "run")) == 8


def test_a_driver_without_the_dataset_says_so_and_goes_on(config: Reader, tmp_path: Path) -> None:
    tree = camvid_tree(tmp_path / "camvid")
    batches = {"train__batch": 2, "teacher__train__batch": 2}
    study = config(data={"name": "camvid", "root": str(tree.root), "size": [48, 64]}, **batches)
    assert record_groups(study, tmp_path / "kept") is None
    shutil.rmtree(tree.root)
    said = record_groups(study, tmp_path / "run")
    assert said is not None and "CamVid's folder" in said and said.endswith("which images belong together")
    assert not (tmp_path / "run" / "tables" / "images").exists()
    assert record_groups(study, tmp_path / "kept") is None, "they are there"


def test_a_bad_pattern_is_a_fault_of_the_file_and_a_good_one_stays(config: Reader) -> None:
    with pytest.raises(ConfigError, match="groups: must fit the name of every image"):
        config(groups="^([a-z]+)-")
    with pytest.raises(ConfigError, match=r"groups: must stay None while a study lasts, but got '\(.\)\$'"):
        Changes(sets=("groups=(.)$",)).apply(config())
    with pytest.raises(ConfigError, match=r"equivalence_points: must stay 1.0 .* before the results were seen"):
        Changes(sets=("equivalence_points=3",)).apply(config())


def test_validate_says_how_many_groups_a_pattern_makes(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(study_file(groups="([0-3])$"))]) == 2
    assert "groups: must fit the name of every image" in capsys.readouterr().err
    assert main(["validate", str(study_file(groups="^(val)/"))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  judged on val: 8 images, groups of them: 1"

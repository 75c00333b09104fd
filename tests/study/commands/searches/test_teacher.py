"""`kdstudy teacher` where the folder holds a study already."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.__main__ import main
from study.configuration.loading import load
from study.folder import create_study


def test_a_teacher_is_not_trained_again_in_the_folder_of_one_that_was_found(
    study_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file()
    create_study(load(str(file)), tmp_path / "found")
    assert main(["teacher", str(file), "--retrain", "--out", str(tmp_path / "found")]) == 2
    assert "--out must be a new folder for --retrain, but " in capsys.readouterr().err


def test_a_teacher_that_is_trained_otherwise_is_not_taken_for_the_one_that_was_begun(
    study_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, begun = study_file(), tmp_path / "begun"
    create_study(load(str(file)), begun)
    assert main(["teacher", str(file), "--out", str(begun), "--set", "teacher.train.iterations=14"]) == 2
    said = capsys.readouterr().err
    assert f"or that of this very teacher, but {begun} has one that differs in train.iterations" in said

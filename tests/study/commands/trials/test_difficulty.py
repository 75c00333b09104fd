"""`kdstudy difficulty` on a student and a teacher that nobody trained long."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.feather
import pytest
import torch

from study.__main__ import main
from study.commands.trials.difficulty import RequestedThresholds, SplitDifficulty, chosen
from tests.study.conftest import tiny, write_study
from trainers.data import IGNORE, streets
from trainers.data.transforms import Normalisation
from trainers.difficulty.rdd import tse_mask
from trainers.teachers.teacher import load

Writer = Callable[..., Path]
DATA = ["--dataset", "streets"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, teacher_file: Path) -> Path:
    """A checkpoint of the tiny study's arm `rdd`, with options that are not the paper's."""
    folder = tmp_path_factory.mktemp("student")
    study = write_study(folder, tiny(teacher={"file": str(teacher_file)}, train__iterations=4))
    options = ["--set", "arms.rdd.task.confidence=target", "--set", "arms.rdd.task.min_kept=9"]
    assert main(["train", str(study), "--arm", "rdd", *options, "--out", str(folder / "trial")]) == 0
    return max((folder / "trial").glob("checkpoint_[0-9]*"))


def difficulty(student: Path, teacher: Path, out: Path, *options: str) -> int:
    return main(["difficulty", str(student), "--teacher", str(teacher), *DATA, "--out", str(out), *options])


def test_pictures_and_shares_are_written(
    student: Path, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert difficulty(student, teacher_file, tmp_path / "out", "--images", "2") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("options of the trial: confidence target, divergence primary_to_aux, combine xor, t = 0.7")
    assert "in training min_kept=9 could raise t, here not" in shown
    assert "of 2 images (tfe: mean weight), t = 0.7\n" in shown
    for name in ("00000", "00001"):
        picture = tmp_path / "out" / "val" / f"{name}.png"
        assert f"written to {picture}" in shown and picture.stat().st_size > 10_000
    table = pyarrow.feather.read_table(tmp_path / "out" / "mask_shares.arrow").to_pylist()
    with (tmp_path / "out" / "mask_shares.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(table)
    assert {row["mask"] for row in table} == {"tfe", "student_hard", "teacher_hard", "xor", "or", "and"}
    assert {row["threshold"] for row in table} == {None, 0.6, 0.65, 0.7, 0.75, 0.8}


def answer(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    capsys.readouterr()
    assert difficulty(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_shares_are_those_of_the_training_mask_over_the_split(
    student: Path, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--images", "val/00003", "--thresholds", "0.2", "0.2", "--whole-split"]
    found = answer(capsys, student, teacher_file, tmp_path / "out", *options)
    assert found["settings"]["from_trial"] and found["settings"]["confidence"] == "target"
    assert found["images"] == 8 and [Path(file).name for file in found["files"]] == [
        "mask_shares.csv", "mask_shares.arrow", "00003.png",
    ]  # fmt: skip
    stored = [row for row in found["shares"] if row["mask"] == "xor"]
    assert {row["threshold"] for row in stored} == {0.2}

    difficulty = SplitDifficulty(student, teacher=teacher_file, dataset="streets", root="", split="val")
    teacher = load(teacher_file, class_names=streets.Dataset.class_names)
    kept, valid = torch.zeros(11), torch.zeros(11)
    for index in range(8):
        image, label = (torch.from_numpy(part) for part in difficulty.data.load(index))
        images, labels = image.permute(2, 0, 1)[None], label.long()[None]
        with torch.no_grad():
            logits = difficulty._pair.student(Normalisation()(images))["logits"]
            mask = tse_mask(logits, teacher(images)["logits"], labels, threshold=0.2, confidence="target")
        for number in range(11):
            kept[number] += int((mask & (labels == number)).sum())
            valid[number] += int((labels == number).sum())
    told = {row["class"]: (row["kept_pixels"], row["valid_pixels"]) for row in stored}
    names = streets.Dataset.class_names
    assert told == {name: (k, v) for name, k, v in zip(names, kept.tolist(), valid.tolist(), strict=True) if v}
    assert 0 < kept.sum() < valid.sum()


def test_maps_of_an_image_have_its_size_and_no_ignored_pixel(student: Path, teacher_file: Path) -> None:
    difficulty = SplitDifficulty(
        student,
        teacher=teacher_file,
        dataset="streets",
        root="",
        split="train",
        requested=RequestedThresholds(thresholds=(0.9, 0.1)),
    )
    assert (difficulty.thresholds, difficulty.reported_threshold, difficulty.trained_mask) == (
        [0.1, 0.9],
        0.1,
        ("xor", 0.7),
    )
    maps = difficulty.maps_of(3)
    assert maps.name == "train/00003" and maps.image.shape == (48, 64, 3) and maps.tfe_weight is not None
    for array in (maps.student_prediction, maps.teacher_confidence, maps.tfe_weight, maps.masks["xor"][0.9]):
        assert array.shape == maps.label.shape == (48, 64)
    assert not maps.masks["or"][0.9][maps.label == IGNORE].any() and maps.masks["or"][0.9].any()


def test_a_student_that_rdd_did_not_train_is_seen_by_the_papers_options(
    teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert difficulty(teacher_file, teacher_file, tmp_path / "out", "--images", "1", "--thresholds", "0.5") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("options of the paper, since the student was not trained with RDD: confidence max")
    rows = pyarrow.feather.read_table(tmp_path / "out" / "mask_shares.arrow").to_pylist()
    assert {row["kept_pixels"] for row in rows if row["mask"] == "xor"} == {0}, "a network agrees with itself"


def test_images_are_chosen_by_number_or_name() -> None:
    data = streets.Dataset(streets.Config(size=(32, 48), val_images=30), "val")
    assert chosen(data, ["2"]) == [0, 1]
    assert chosen(data, ["val/00007", "val/00002", "val/00007"]) == [7, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "9"], "--images must be 1 to 8 of the split's images, but got 9"),
        (["--images", "0"], "--images must be 1 to 8 of the split's images, but got 0"),
        (["--images", "val/0000"], "names of the split, but got 'val/0000'; did you mean 'val/0000"),
        (["--thresholds", "0"], "thresholds.0: input should be greater than 0, but got 0"),
        (["--thresholds", "1.5"], "thresholds.0: input should be less than or equal to 1, but got 1.5"),
        (["--teacher", "none.safetensors"], "there is no none.safetensors"),
        (["--dataset", "street"], "did you mean 'streets'?"),
        (["--dataset", "camvid"], "data.root must be CamVid's folder"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    student: Path, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: list[str], message: str,
) -> None:  # fmt: skip
    capsys.readouterr()
    assert difficulty(student, teacher_file, tmp_path / "out", *options) == 2
    written = capsys.readouterr()
    assert message in written.err and written.out == "" and not (tmp_path / "out").exists()

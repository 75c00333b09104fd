"""`kdstudy data check`, `validate`, `evaluate` and `convert` on data of one's own, described in a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from study.__main__ import main
from study.commands.lookup.datasets import dataset_config
from study.configuration.loading import load
from study.folder import CLASSES, create_study, read_config
from tests.study.conftest import tiny
from tests.trainers.own import COLOURS, NAMES, coloured, label, picture, save, write_grey, write_listed
from trainers.data import folder

Shown = pytest.CaptureFixture[str]
LISTED: dict[str, Any] = {
    "name": "folder",
    "classes": list(NAMES),
    "palette": [list(colour) for colour in COLOURS],
    "split": {"lists": "{split}.txt"},
}
GREY: dict[str, Any] = {
    "name": "folder",
    "classes": list(NAMES),
    "images": "images/{split}",
    "labels": "labels/{split}",
}


def study(path: Path, data: dict[str, Any], **others: Any) -> str:
    """The file of a study with these data below its folder."""
    values = tiny(data={"root": str(path), **data}, augment={"crop": [16, 24]}, arms={"one": {"trials": 1}}, **others)
    file = path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    return str(file)


def checked(file: str, capsys: Shown, *options: str) -> dict[str, Any]:
    code = main(["data", "check", file, "--json", *options])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if found["well"] else 2)
    return found


def test_a_folder_is_counted_without_published_numbers(tmp_path: Path, capsys: Shown) -> None:
    file = study(write_listed(tmp_path), LISTED)
    found = checked(file, capsys, "--sheet", str(tmp_path / "sheet.png"))
    assert found["well"] and found["dataset"] == "folder" and found["notes"] == []
    train = found["splits"]["train"]
    assert (train["images"], train["published"], train["sizes"]) == (4, None, {"16 x 24": 4})
    labels = np.stack([label(number) for number in range(4)])
    assert train["class_percent"] == pytest.approx(
        {name: 100 * (labels == place).mean() for place, name in enumerate(NAMES)}
    )
    assert train["unseen"] == train["notes"] == train["faults"] == []
    assert "test.txt" in found["splits"]["test"]["absent"]
    assert Image.open(tmp_path / "sheet.png").width > 6 * 320


def test_the_check_is_printed(tmp_path: Path, capsys: Shown) -> None:
    write_grey(tmp_path)
    for number in range(4):
        save(tmp_path / f"labels/train/train{number}.png", label(number, 0, 1, 2, 255))
    save(tmp_path / "images/train/train3.png", picture(3, (20, 30)))
    (tmp_path / "images/train/train3.jpg").unlink()
    save(tmp_path / "labels/train/train3.png", label(3, 0, 1, size=(20, 30)))
    assert main(["data", "check", study(tmp_path, {**GREY, "ignore": [255]}), "--sheet", str(tmp_path / "a.png")]) == 0
    written = capsys.readouterr()
    lines = written.out.splitlines()
    assert lines[0].startswith("train: 4 images, ") and lines[0].endswith("% of the pixels ignored, faults: 0")
    assert "sizes in train, height x width: 16 x 24 (3), 20 x 30 (1)" in lines
    assert "never seen in train: tree, person" in lines and "never seen in val" not in written.out
    assert lines[-1] == f"contact sheet: {tmp_path}/a.png"


def test_values_and_colours_that_stand_for_nothing_are_faults_with_their_place(tmp_path: Path, capsys: Shown) -> None:
    wrong = coloured(label(0))
    wrong[2, 3] = (1, 2, 3)
    save(write_listed(tmp_path) / "masks/0.png", wrong)
    found = checked(study(tmp_path, LISTED), capsys)
    (fault,) = found["splits"]["train"]["faults"]
    assert f"{tmp_path}/masks/0.png holds RGB (1, 2, 3) at row 2, column 3" in fault
    assert found["splits"]["val"]["faults"] == []


def test_images_without_a_label_are_all_named(tmp_path: Path, capsys: Shown) -> None:
    write_grey(tmp_path)
    for number in (1, 2):
        (tmp_path / f"labels/train/train{number}.png").unlink()
    train = checked(study(tmp_path, GREY), capsys)["splits"]["train"]
    assert train["images"] == 4
    assert train["faults"] == [
        f"{tmp_path}/labels/train/train{number}.png is missing; complete the folder" for number in (1, 2)
    ]


def test_copies_within_and_between_splits_are_found_by_content(tmp_path: Path, capsys: Shown) -> None:
    write_grey(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "images/train/train0.jpg"))
    for path in ("train/again.png", "val/copy.tif"):
        save(tmp_path / "images" / path, pixels)
        save((tmp_path / "labels" / path).with_suffix(".png"), label(9))
    found = checked(study(tmp_path, GREY), capsys)
    assert found["well"]
    assert any(
        "2 have the pixels of another one, first again and train0" in note for note in found["splits"]["train"]["notes"]
    )
    (between,) = found["notes"]
    assert between.startswith("no image should be in two splits, but 1 are in train and in val, first again and copy")


def test_another_convention_is_guessed(tmp_path: Path, capsys: Shown) -> None:
    write_grey(tmp_path)
    for path in (tmp_path / "labels").rglob("*.png"):
        save(path, label(0, 1, 2, 3, 4, 5))
    found = checked(study(tmp_path, GREY), capsys)
    assert not found["well"]
    save(tmp_path / "labels/train/train0.png", label(0, *range(6)))
    note = checked(study(tmp_path, GREY), capsys)["splits"]["train"]["notes"][0]
    assert "most likely they count from 1" in note and "map: {1: road, 2: sky" in note


def test_a_header_that_turns_an_image_is_noted(tmp_path: Path, capsys: Shown) -> None:
    header = Image.Exif()
    header[0x0112] = 3
    save(write_grey(tmp_path) / "images/val/val0.jpg", picture(0), exif=header)
    (note,) = checked(study(tmp_path, GREY), capsys)["splits"]["val"]["notes"]
    assert note.startswith("the headers of 1 images say that these are to be turned (EXIF), first val0")


def test_a_file_of_its_own_and_another_root(tmp_path: Path, capsys: Shown) -> None:
    write_listed(tmp_path / "here")
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({**LISTED, "root": "nowhere"}))
    found = checked(str(tmp_path / "data.yaml"), capsys, "--root", str(tmp_path / "here"))
    assert found["well"] and found["splits"]["val"]["images"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: folder\nclasses: [a", "kdstudy: "),
        ("classes: [a, b]", "must hold data: {name: ...}, but does not; see docs/own-data.md"),
        ("data: {name: folder, clases: [a]}", "clases: no such key; did you mean 'classes'?"),
        ("data: {name: folder}", "data.root must be your folder, but got '', which is none; own data: "),
        ("data: {name: foldr}", "has no 'foldr'; did you mean 'folder'?"),
    ],
)
def test_a_file_that_describes_no_data_is_refused(text: str, message: str, tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert main(["data", "check", str(tmp_path / "data.yaml")]) == 2
    written = capsys.readouterr().err
    assert message in written and "Traceback" not in written


def test_no_such_file_is_refused(capsys: Shown) -> None:
    assert main(["data", "check", "none.yaml"]) == 2
    assert (
        "must be a name or a YAML file that describes it, but there is no file 'none.yaml'" in capsys.readouterr().err
    )


def test_a_study_of_a_folder_is_well(tmp_path: Path, capsys: Shown) -> None:
    file = study(write_listed(tmp_path), {**LISTED, "groups": r"(\d)$"})
    assert main(["validate", file]) == 0
    assert "judged on val: 2 images, groups of them: 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"palette": "class_dict.csv"}, "class_dict.csv must be a readable file, but is not: No such file"),
        ({"map": {7: "raod"}}, "data: data.map must map to classes, but 'raod' is none of data.classes"),
        ({"split": {"lists": "lists/{split}"}}, "data: a split's list must be a file, but there is no"),
        ({"palette": [[1, 2, 3]] * 5}, "a colour must stand for one class"),
        ({"palette": {"road": [128, 64, 128]}}, "every class must have a value or a colour, but"),
    ],
)
def test_every_fault_of_the_data_and_of_the_rest_is_found_at_once(
    data: dict[str, Any], message: str, tmp_path: Path, capsys: Shown
) -> None:
    file = study(write_listed(tmp_path), {**LISTED, **data}, objective="first")
    assert main(["validate", file]) == 2
    written = capsys.readouterr().err
    assert message in written and "objective: " in written and "Traceback" not in written


def test_rare_classes_of_ones_own_are_a_warning(tmp_path: Path, capsys: Shown) -> None:
    write_grey(tmp_path)
    for path in (tmp_path / "labels").rglob("*.png"):
        save(path, label(0, 0, 1))
    assert main(["validate", study(tmp_path, GREY)]) == 0
    assert "labels should hold the classes of folder, but of its 5 the" in capsys.readouterr().err


def test_a_studys_folder_has_the_classes_and_the_whole_description(tmp_path: Path) -> None:
    config = load(study(write_listed(tmp_path / "mine"), {**LISTED, "ignore": [[0, 0, 0]]}))
    create_study(config, tmp_path / "out")
    written = json.loads((tmp_path / "out" / CLASSES).read_text())
    assert [(row["name"], tuple(row["rgb"])) for row in written] == list(zip(NAMES, COLOURS, strict=True))
    again = read_config(tmp_path / "out")
    assert again == config and again.class_names == NAMES


def test_a_dataset_is_looked_up_by_its_file_with_the_settings_of_a_trial_on_top(tmp_path: Path) -> None:
    file = study(write_grey(tmp_path), GREY)
    found = dataset_config(file, "")
    assert isinstance(found, folder.Config) and found.root == str(tmp_path) and found.classes == NAMES
    assert dataset_config("folder", str(tmp_path), {"classes": ["a", "b"]}).classes == ("a", "b")

"""`kdstudy data check`: what it finds, and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest

from study.__main__ import main
from tests.trainers.trees import TREES, Tree, cityscapes_tree, write

Shown = pytest.CaptureFixture[str]


def as_published(monkeypatch: pytest.MonkeyPatch, tree: Tree) -> Tree:
    """Lets the tiny tree's number of images be the published one."""
    monkeypatch.setattr(tree.module.Dataset, "published", tree.counts)
    return tree


@pytest.mark.parametrize("name", TREES)
def test_a_whole_dataset_is_well(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown) -> None:
    tree = as_published(monkeypatch, TREES[name](tmp_path))
    assert main(["data", "check", name, "--root", str(tmp_path), "--json"]) == 0
    written = capsys.readouterr()
    found = json.loads(written.out)
    assert found["well"] and found["dataset"] == name and written.err == ""
    assert {split: part["images"] for split, part in found["splits"].items()} == tree.counts
    labels = np.stack([tree.data().load(index)[1] for index in range(2)])
    train = found["splits"]["train"]
    assert train["ignored_percent"] == pytest.approx(100 * (labels == 255).mean())
    for index, shown in enumerate(tree.module.Dataset.class_names):
        assert train["class_percent"][shown] == pytest.approx(100 * (labels == index).sum() / (labels != 255).sum())
    assert sum(train["class_percent"].values()) == pytest.approx(100)
    assert train["labels"] == ("labelIds" if name == "cityscapes" else None)


def test_the_table_says_counts_kind_of_labels_and_frequencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    as_published(monkeypatch, cityscapes_tree(tmp_path, "labelTrainIds"))
    assert main(["data", "check", "cityscapes", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 2 of 2 images, labels are labelTrainIds, ") and "faults: 0" in lines[0]
    assert lines[2] == "test: 1 of 1 images, 100.00 % of the pixels ignored, faults: 0"
    assert len(lines) == 3 + 19 + 3 and lines[3].split()[0] == "road" and lines[3].count("%") == 2
    assert lines[-3] == "sizes in train, height x width: 18 x 24 (2)"


def test_every_fault_is_told_and_the_exit_code_is_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    tree = as_published(monkeypatch, cityscapes_tree(tmp_path))
    first, second = (tree.data().pairs[index] for index in range(2))
    first.image.write_bytes(b"")
    write(tree.label, np.full((18, 24), 99, np.uint8))
    assert main(["data", "check", "cityscapes", "--root", str(tmp_path)]) == 2
    written = capsys.readouterr().err
    assert f"{first.image} must be a whole image" in written and f"{second.label} holds 99" in written
    assert main(["data", "check", "cityscapes", "--root", str(tmp_path), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert not found["well"] and len(found["splits"]["train"]["faults"]) == 2
    assert found["splits"]["val"]["faults"] == []


def test_fewer_images_than_published_are_a_fault(tmp_path: Path, capsys: Shown) -> None:
    cityscapes_tree(tmp_path)
    assert main(["data", "check", "cityscapes", "--root", str(tmp_path)]) == 2
    written = capsys.readouterr().err
    for split, published, found in (("train", 2975, 2), ("val", 500, 1), ("test", 1525, 1)):
        assert f"{split} must have {published} images as published, but has {found}; complete" in written


def test_every_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown) -> None:
    tree = as_published(monkeypatch, TREES["camvid"](tmp_path))
    gone = [tree.image, tree.data().pairs[0].label]
    for path in gone:
        path.unlink()
    assert main(["data", "check", "camvid", "--root", str(tmp_path), "--json"]) == 2
    train = json.loads(capsys.readouterr().out)["splits"]["train"]
    assert train["images"] == 1
    assert sorted(train["faults"]) == sorted(f"{path} is missing; complete the folder" for path in gone)


@pytest.mark.parametrize("name", TREES)
def test_a_missing_test_split_is_told_but_no_fault(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    tree = as_published(monkeypatch, TREES[name](tmp_path))
    data = tree.data("test")
    gone = {"voc": tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt", "camvid": tmp_path / "test.txt"}
    gone.get(name, data.pairs[0].image).unlink()
    assert main(["data", "check", name, "--root", str(tmp_path), "--json"]) == 0
    test = json.loads(capsys.readouterr().out)["splits"]["test"]
    assert test["images"] is None and test["faults"] == [] and str(tmp_path) in test["absent"]


def test_a_wrong_root_is_told_once(tmp_path: Path, capsys: Shown) -> None:
    assert main(["data", "check", "voc", "--root", str(tmp_path)]) == 2
    written = capsys.readouterr()
    assert written.err.count("VOC's folder must hold JPEGImages") == 1
    assert "it holds nothing; set data.root" in written.err and "train: 0 of 10582 images, faults: 1" in written.out


def test_many_faults_are_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown) -> None:
    monkeypatch.setattr("study.commands.networks.data.MAX_PRINTED", 2)
    cityscapes_tree(tmp_path)
    assert main(["data", "check", "cityscapes", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "kdstudy: and 1 more; --json has them all"


@pytest.mark.parametrize(
    ("name", "message"),
    [("cityscape", "did you mean 'cityscapes'?"), ("streets", "streets is drawn; there is nothing to check")],
)
def test_what_is_no_dataset_on_disk_is_refused(name: str, message: str, tmp_path: Path, capsys: Shown) -> None:
    assert main(["data", "check", name, "--root", str(tmp_path)]) == 2
    written = capsys.readouterr()
    assert message in written.err and written.out == ""

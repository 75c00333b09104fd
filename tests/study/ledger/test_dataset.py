"""The dataset of a study is held against the ledger: recorded once, refused by file name, taken when told to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from study.configuration.config import StudyConfig
from study.ledger.dataset import RECORDED, dataset_of, hold_dataset
from study.ledger.ledger import ArmLedger, open_arms
from tests.trainers.trees import Tree, camvid_tree
from trainers.data.fingerprint import NOTE, read_note

Reader = Callable[..., StudyConfig]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return camvid_tree(tmp_path / "data")


@pytest.fixture
def study(config: Reader, tree: Tree) -> StudyConfig:
    small = {"train__batch": 2, "teacher__train__batch": 2}
    return config(data={"name": "camvid", "root": str(tree.root)}, augment={"crop": [16, 16]}, **small)


def hold(study: StudyConfig, folder: Path, *, accept: bool = False, with_teacher: bool = False) -> str | None:
    arms = open_arms(study, folder, with_teacher=with_teacher)
    return hold_dataset(study, folder, arms, dataset_of(study), accept=accept)


def recorded(study: StudyConfig, folder: Path) -> list[object]:
    arms: dict[str, ArmLedger] = open_arms(study, folder, with_teacher=True)
    return [arm.study.user_attrs.get(RECORDED) for arm in arms.values()]


def test_it_is_recorded_with_every_arm_at_the_first_start_and_then_held(study: StudyConfig, tmp_path: Path) -> None:
    assert str(hold(study, tmp_path)).startswith("dataset: 8 files, checksum ")
    assert hold(study, tmp_path, with_teacher=True) is None
    first, *others = recorded(study, tmp_path)
    assert first and others == [first, first]


@pytest.mark.parametrize("which", ["image", "label", "list"])
def test_a_change_is_refused_by_the_name_of_the_file_until_it_is_accepted(
    study: StudyConfig, tree: Tree, tmp_path: Path, which: str
) -> None:
    hold(study, tmp_path)
    *_, before = recorded(study, tmp_path)
    path = {"image": tree.image, "label": tree.label, "list": tree.root / "train.txt"}[which]
    path.write_bytes(path.read_bytes() + b"\n")
    law = rf"must stay as it was at its start, but {path.relative_to(tree.root)} has changed; .*--accept-data"
    for _ in range(2):
        with pytest.raises(ValueError, match=law):
            hold(study, tmp_path)
    assert "do not compare" in str(hold(study, tmp_path, accept=True))
    *_, after = recorded(study, tmp_path)
    assert isinstance(before, dict) and isinstance(after, dict) and after["before"] == [before["sha256"]]
    assert hold(study, tmp_path) is None and read_note(tmp_path / NOTE) == dataset_of(study)


def test_a_note_that_is_not_what_the_ledger_recorded_names_nothing_and_is_written_anew(
    study: StudyConfig, tree: Tree, tmp_path: Path
) -> None:
    hold(study, tmp_path)
    note = json.loads((tmp_path / NOTE).read_text())
    (tmp_path / NOTE).write_text(json.dumps({**note, "files": {}}))
    assert hold(study, tmp_path) is None and read_note(tmp_path / NOTE) == note["files"]
    (tmp_path / NOTE).unlink()
    tree.image.write_bytes(tree.image.read_bytes() + b"\n")
    with pytest.raises(ValueError, match="but its files differ; put it back"):
        hold(study, tmp_path)


def test_a_drawn_dataset_has_nothing_to_hold(config: Reader, tmp_path: Path) -> None:
    study = config()
    assert hold(study, tmp_path) is None and not (tmp_path / NOTE).exists()
    assert recorded(study, tmp_path) == [None] * 3

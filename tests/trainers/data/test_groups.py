"""Which images belong together, by their dataset or by a pattern."""

from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.trainers.trees import camvid_tree, cityscapes_tree
from trainers.data import camvid, cityscapes, streets
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images

STREETS = streets.Config(size=(32, 48), train_images=40, val_images=3)
REAL = SHARED / "data" / "camvid"


def test_frames_of_one_drive_are_one_group(tmp_path: Path) -> None:
    root = camvid_tree(tmp_path).root
    drives = {"0016E5_07959": "0016E5", "0016E5_07961": "0016E5", "Seq05VD_f00000": "Seq05VD", "0001TP_1": "0001TP"}
    for folder in ("val", "valannot"):
        for name in drives:
            (root / folder / f"{name}.png").write_bytes((root / folder / "c.png").read_bytes())
    (root / "val.txt").write_text("\n".join(f"/S/val/{name}.png /S/valannot/{name}.png" for name in drives))
    assert image_groups(camvid.Dataset(camvid.Config(root=str(root)), "val")) == drives


@pytest.mark.skipif(not REAL.exists(), reason=f"CamVid is not here: {REAL}")
def test_the_real_validation_split_is_one_drive() -> None:
    groups = {
        split: set(image_groups(camvid.Dataset(camvid.Config(root=str(REAL)), split)).values())
        for split in ("train", "val")
    }
    assert groups == {"train": {"0001TP", "0006R0", "0016E5"}, "val": {"0016E5"}}


def test_cityscapes_frames_are_grouped_by_city_sequence_and_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cityscapes_tree(tmp_path).data()
    assert image_groups(data) == {"aachen_000000_000019": "aachen_000000_0", "bochum_000001_000019": "bochum_000001_0"}
    names = {
        "frankfurt_000000_000999": "frankfurt_000000_0",
        "frankfurt_000000_001000": "frankfurt_000000_1",
        "frankfurt_000001_012519": "frankfurt_000001_12",
        "odd": "odd",
    }
    for name, group in names.items():
        monkeypatch.setattr(cityscapes.Dataset, "image_name", lambda self, index, name=name: name)
        assert data.image_group(0) == group


def test_images_of_other_datasets_stand_alone() -> None:
    groups = image_groups(judging_images(STREETS, "val"))
    assert list(groups) == list(groups.values()) == ["val/00000", "val/00001", "val/00002"]


def test_what_is_held_out_keeps_its_groups(tmp_path: Path) -> None:
    config = cityscapes.Config(root=str(cityscapes_tree(tmp_path).root))
    held = judging_images(config, "holdout", holdout=0.5)
    assert set(image_groups(held).items()) <= set(image_groups(cityscapes.Dataset(config, "train")).items())


def test_a_pattern_names_the_groups_instead() -> None:
    data = judging_images(STREETS, "val")
    assert set(image_groups(data, r"^(\w+)/").values()) == {"val"}
    assert image_groups(data, r"^(\w+)/\d*(\d)$")["val/00002"] == "val_2"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"must be a regular expression, but got '\(': missing \), .*; for example"),
        ("val", r"must capture the part of a name that is the group, but 'val' captures none; put that part"),
        ("^([a-z]+)-", r"must fit the name of every image, but .* does not fit 'val/00000'; widen it"),
        ("val(x)?", r"must fit the name of every image, but .* does not fit 'val/00000'; widen it"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_groups(judging_images(STREETS, "val"), pattern)

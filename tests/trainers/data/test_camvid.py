from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import SHARED
from tests.trainers.data.test_streets import CAMVID_PERCENT
from tests.trainers.trees import camvid_tree, values
from trainers.data import IGNORE
from trainers.data.camvid import VOID, Config, Dataset

REAL = SHARED / "data" / "camvid"
real = pytest.mark.skipif(not REAL.exists(), reason=f"CamVid is not here: {REAL}")


def label(seed: int) -> NDArray[np.uint8]:
    return values(seed, *range(VOID + 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training images and one to validate on, listed as published."""
    return camvid_tree(tmp_path).root


def test_the_published_lists_are_read(folder: Path) -> None:
    train, val = (Dataset(Config(root=str(folder)), split) for split in ("train", "val"))
    assert [train.image_name(index) for index in range(len(train))] == ["a", "b"]
    assert [val.image_name(index) for index in range(len(val))] == ["c"]
    image, _ = train.load(1)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, cv2.imread(str(folder / "train" / "b.png"), cv2.IMREAD_COLOR_RGB))


def test_a_list_on_one_line_is_read_in_pairs(folder: Path) -> None:
    listing = folder / "train.txt"
    listing.write_text(" ".join(listing.read_text().split()))
    train = Dataset(Config(root=str(folder)), "train")
    assert [train.image_name(index) for index in range(len(train))] == ["a", "b"]


def test_void_is_ignored_and_the_classes_stay(folder: Path) -> None:
    found = Dataset(Config(root=str(folder)), "train").load(1)[1]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found == IGNORE, label(1) == VOID)
    np.testing.assert_array_equal(found[found != IGNORE], label(1)[label(1) != VOID])


def test_size_resizes_and_labels_keep_their_values(folder: Path) -> None:
    image, found = Dataset(Config(root=str(folder), size=(36, 48)), "train").load(0)
    assert image.shape == (36, 48, 3)
    expected = np.where(label(0) == VOID, IGNORE, label(0)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(found, expected)


LABEL, IMAGE = "trainannot/b.png", "train/b.png"
FAULTS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "no list": ("train.txt", "set data.root", Path.unlink),
    "empty list": ("train.txt", "set data.root", lambda path: path.write_text("\n")),
    "list of one column": ("train.txt", "correct that line", lambda path: path.write_text("train/a.png\n")),
    "no image": (IMAGE, "take the line out", Path.unlink),
    "no label": (LABEL, "take the line out", Path.unlink),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_file_and_the_remedy(folder: Path, fault: str) -> None:
    where, remedy, spoil = FAULTS[fault]
    spoil(folder / where)
    with pytest.raises(ValueError) as caught:
        Dataset(Config(root=str(folder)), "train").load(1)
    assert where in str(caught.value).replace("\\", "/") and remedy in str(caught.value)
    assert len(Dataset(Config(root=str(folder)), "val")) == 1


@pytest.mark.parametrize("root", ["", "nowhere"])
def test_a_missing_folder_is_told(root: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.root must be CamVid's folder, but got '{root}'.*; set data\.root"):
        Dataset(Config(root=root), "train")


@real
def test_the_real_data_set_has_its_size_and_its_shares_of_classes() -> None:
    train, val = (Dataset(Config(root=str(REAL)), split) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    counts = np.zeros(256)
    for index in range(len(train)):
        counts += np.bincount(train.load(index)[1].ravel(), minlength=256)
    percent = 100 * counts / counts.sum()
    for name, expected in CAMVID_PERCENT.items():
        assert percent[Dataset.class_names.index(name)] == pytest.approx(expected, abs=0.5), name
    assert percent[IGNORE] == pytest.approx(4.0, abs=0.5)

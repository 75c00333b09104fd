from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import SHARED
from tests.trainers.test_streets import CAMVID_PERCENT
from trainers.data import IGNORE
from trainers.data.camvid import VOID, Config, Dataset

REAL = SHARED / "data" / "camvid"
real = pytest.mark.skipif(not REAL.exists(), reason=f"CamVid is not here: {REAL}")


def write(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), array)


def label(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, VOID + 1, (18, 24), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training images and one to validate on, listed as published."""
    for split, names in (("train", ("a", "b")), ("val", ("c",))):
        for seed, name in enumerate(names):
            image = np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8)
            write(tmp_path / split / f"{name}.png", image)
            write(tmp_path / f"{split}annot" / f"{name}.png", label(seed))
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_the_published_lists_are_read(folder: Path) -> None:
    train, val = (Dataset(Config(root=str(folder)), split) for split in ("train", "val"))
    assert [train.image_name(index) for index in range(len(train))] == ["a", "b"]
    assert [val.image_name(index) for index in range(len(val))] == ["c"]
    image, _ = train.load(1)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, cv2.imread(str(folder / "train" / "b.png"), cv2.IMREAD_COLOR_RGB))


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


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


LABEL, IMAGE = "trainannot/b.png", "train/b.png"
FAULTS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "no list": ("train.txt", "set data.root", Path.unlink),
    "empty list": ("train.txt", "set data.root", lambda path: path.write_text("\n")),
    "list of one column": ("train.txt", "correct that line", lambda path: path.write_text("train/a.png\n")),
    "no image": (IMAGE, "take the line out", Path.unlink),
    "no label": (LABEL, "take the line out", Path.unlink),
    "truncated image": (IMAGE, "restore it", truncate),
    "truncated label": (LABEL, "restore it", truncate),
    "empty image": (IMAGE, "restore it", lambda path: path.write_bytes(b"")),
    "empty label": (LABEL, "restore it", lambda path: path.write_bytes(b"")),
    "value out of range": (LABEL, "use the SegNet layout", lambda path: write(path, label(1) + 1)),
    "rgb label": (LABEL, "use the SegNet layout", lambda path: write(path, np.zeros((18, 24, 3), np.uint8))),
    "16-bit label": (LABEL, "use the SegNet layout", lambda path: write(path, label(1).astype(np.uint16))),
    "other size": (LABEL, "put both back", lambda path: write(path, label(1)[:, 1:].copy())),
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

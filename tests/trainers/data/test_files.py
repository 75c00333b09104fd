"""What every dataset on disk promises, on tiny trees in the published layouts."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.trainers.trees import SIZE, TREES, Tree, camvid_tree, cityscapes_tree, write
from trainers.context import LocalContext
from trainers.data import IGNORE
from trainers.data.files import OWN_DATA, SplitMissingError
from trainers.testing import DatasetContract
from trainers.worker import attempt


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[request.param](tmp_path)


class TestContract(DatasetContract):
    splits = ("train", "val", "test")

    @pytest.fixture
    def data_config(self, tree: Tree) -> Any:
        return tree.module.Config(root=str(tree.root))


def test_every_split_is_found(tree: Tree) -> None:
    for split, images in tree.counts.items():
        data = tree.data(split)
        assert len(data) == images
        names = [data.image_name(index) for index in range(images)]
        assert len(set(names)) == images and not any(name.endswith((".png", ".jpg")) for name in names)


def test_hidden_files_are_no_images(tree: Tree) -> None:
    counted = {split: len(tree.data(split)) for split in tree.counts}
    for path in [path for path in tree.root.rglob("*.png") if path.is_file()] + [tree.image]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        (path.parent / ".thumbnails").mkdir(exist_ok=True)
        (path.parent / ".thumbnails" / path.name).write_bytes(b"")
        (path.parent / "Thumbs.db").touch()
    assert {split: len(tree.data(split)) for split in tree.counts} == counted


def test_images_are_as_stored_and_labels_are_classes(tree: Tree) -> None:
    data = tree.data()
    index = next(number for number, pair in enumerate(data.pairs) if pair.image == tree.image)
    image, label = data.load(index)
    np.testing.assert_array_equal(image, cv2.imread(str(tree.image))[..., ::-1])
    assert image.dtype == label.dtype == np.uint8
    expected = np.vectorize(lambda value: tree.classes.get(value, IGNORE))(tree.stored)
    np.testing.assert_array_equal(label, expected)
    assert set(np.unique(label)) == {*range(len(data.class_names)), IGNORE}


def test_a_test_split_without_labels_is_all_ignored(tree: Tree) -> None:
    label = tree.data("test").load(0)[1]
    assert label.shape == SIZE and (label == IGNORE).all() == (tree.module.__name__ != "trainers.data.camvid")


def test_the_values_of_label_files_are_told(tree: Tree) -> None:
    assert dict(enumerate(tree.module.Dataset.ids)) == {index: value for value, index in tree.classes.items()}


def read_all(tree: Tree) -> None:
    data = tree.data()
    for index in range(len(data)):
        data.load(index)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def few_bits(path: Path) -> None:
    """A PNG of 4 bits a pixel, which OpenCV reads as if it had 8."""
    rows = b"".join(b"\0" + bytes(SIZE[1] // 2) for _ in range(SIZE[0]))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 4, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def outside(tree: Tree) -> None:
    stored = tree.stored.copy()
    stored[3, 4] = tree.outside
    write(tree.label, stored)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS: dict[str, tuple[str, str, Callable[[Tree], Any]]] = {
    "truncated image": ("image", "restore it", lambda tree: truncate(tree.image)),
    "truncated label": ("label", "restore it", lambda tree: truncate(tree.label)),
    "empty image": ("image", "restore it", lambda tree: tree.image.write_bytes(b"")),
    "empty label": ("label", "restore it", lambda tree: tree.label.write_bytes(b"")),
    "no image at all": ("image", "restore it", lambda tree: tree.image.write_text("<html>404</html>")),
    "unreadable image": ("image", "restore it", lambda tree: replace_by_folder(tree.image)),
    "missing image": ("image", "complete the folder", lambda tree: tree.image.unlink()),
    "missing label": ("label", "complete the folder", lambda tree: tree.label.unlink()),
    "value out of range": ("label", "{remedy}", outside),
    "rgb label": ("label", "{remedy}", lambda tree: write(tree.label, np.zeros((*SIZE, 3), np.uint8))),
    "16-bit label": ("label", "{remedy}", lambda tree: write(tree.label, tree.stored.astype(np.uint16))),
    "4-bit label": ("label", "{remedy}", lambda tree: few_bits(tree.label)),
    "jpeg label": ("label", "{remedy}", lambda tree: tree.label.write_bytes(cv2.imencode(".jpg", tree.stored)[1])),
    "other size": ("label", "put both back", lambda tree: write(tree.label, tree.stored[:, 1:].copy())),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_file_and_the_remedy(tree: Tree, fault: str) -> None:
    where, remedy, spoil = FAULTS[fault]
    spoil(tree)
    with pytest.raises(ValueError) as caught:
        read_all(tree)
    path = tree.image if where == "image" else tree.label
    assert str(path) in str(caught.value)
    assert remedy.format(remedy=f"{tree.module.Dataset.remedy}; {OWN_DATA}") in str(caught.value)
    assert len(tree.data("val")) == 1


def test_a_value_out_of_range_is_told_beside_those_allowed(tmp_path: Path) -> None:
    tree = cityscapes_tree(tmp_path)
    outside(tree)
    with pytest.raises(
        ValueError, match=r"labels must hold 0\.\.33, but .*bochum_000001_000019_gtFine.* holds 34; take"
    ):
        tree.data().load(1)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rgb label", "8-bit RGB"),
        ("16-bit label", "16-bit grey"),
        ("4-bit label", "4-bit grey"),
        ("jpeg label", "no PNG"),
    ],
)
def test_another_kind_of_label_is_called_by_its_name(tmp_path: Path, fault: str, kind: str) -> None:
    tree = cityscapes_tree(tmp_path)
    FAULTS[fault][2](tree)
    with pytest.raises(ValueError, match=rf"must be a PNG of 8-bit grey, but .*labelIds\.png is {kind}; take gtFine"):
        tree.data().load(1)


@pytest.mark.parametrize("root", ["", "nowhere"])
def test_a_missing_folder_is_told(tree: Tree, root: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.root must be .*'s? folder, but got '{root}'.*; set data\.root"):
        tree.module.Dataset(tree.module.Config(root=root), "train")


def test_another_layout_is_told_with_what_lies_there(tree: Tree, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "photos").mkdir(parents=True)
    (other / "masks").mkdir()
    with pytest.raises(
        ValueError, match=r"folder must hold .*, but .*other does not, it holds masks, photos; set data\.root"
    ):
        tree.module.Dataset(tree.module.Config(root=str(other)), "train")


def test_one_dataset_in_the_place_of_another_is_refused(tree: Tree, tmp_path: Path) -> None:
    for name, build in TREES.items():
        other = build(tmp_path / "others" / name)
        if other.module is not tree.module:
            with pytest.raises(ValueError, match=r"; set data\.root"):
                tree.module.Dataset(tree.module.Config(root=str(other.root)), "train")


def test_a_test_split_that_was_not_downloaded_is_told_apart(tmp_path: Path) -> None:
    tree = camvid_tree(tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(SplitMissingError, match=r"test\.txt, but there is no such file"):
        tree.data("test")


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("split", ["train", "val"])
def test_an_unreadable_file_in_mid_epoch_ends_the_trial_with_its_name(
    tmp_path: Path, split: str, loader_workers: int
) -> None:
    tree = cityscapes_tree(tmp_path / "data")
    spoilt = tree.image if split == "train" else tree.data("val").pairs[0].image
    trial = {
        "data": {"name": "cityscapes", "root": str(tree.root)},
        "augment": {"crop": [16, 16]},
        "student": {"architecture": "pspnet", "backbone": "mobilenetv2_035"},
        "train": {"iterations": 4, "batch": 2, "evaluate_every": 2},
        "task": {"weighting": "uniform"},
    }
    truncate(spoilt)
    outcome = attempt(trial, LocalContext(tmp_path / "trial"), loader_workers)
    assert list(outcome) == ["error", "traceback", "memory/peak_mib"]
    assert outcome["error"].startswith(f"UnreadableError: {spoilt} must be a whole image")
    assert "restore it" in outcome["error"] and "\n" not in outcome["error"]

from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as published

from tests.trainers.trees import CITYSCAPES_CLASSES, cityscapes_tree
from trainers.data.cityscapes import LABEL_IDS, Dataset

EVALUATED = sorted((label for label in published if label.trainId not in (255, -1)), key=lambda label: label.trainId)


def test_names_colours_and_ids_are_those_of_the_published_scripts() -> None:
    assert Dataset.class_names == tuple(label.name for label in EVALUATED)
    assert Dataset.palette == tuple(label.color for label in EVALUATED)
    assert Dataset.ids == tuple(label.id for label in EVALUATED)
    assert [label.trainId for label in EVALUATED] == list(range(19))
    assert set(LABEL_IDS) == {label.id for label in published if label.id >= 0}


def test_every_label_id_is_read_as_the_published_train_id(tmp_path: Path) -> None:
    tree = cityscapes_tree(tmp_path)
    found = tree.data().load(1)[1]
    train_ids = {label.id: label.trainId for label in published}
    np.testing.assert_array_equal(found, np.vectorize(train_ids.__getitem__)(tree.stored))


@pytest.mark.parametrize("encoding", ["labelIds", "labelTrainIds"])
def test_the_kind_of_labels_is_found_out_and_said(tmp_path: Path, encoding: str) -> None:
    tree = cityscapes_tree(tmp_path, encoding)
    data = tree.data()
    assert data.encoding == encoding
    for index, pair in enumerate(data.pairs):
        assert pair.label is not None and pair.label.name.endswith(f"_gtFine_{encoding}.png")
        stored = cv2.imread(str(pair.label), cv2.IMREAD_UNCHANGED)
        expected = np.vectorize(lambda value: tree.classes.get(value, 255))(stored)
        np.testing.assert_array_equal(data.load(index)[1], expected)


def test_published_label_ids_are_read_where_both_kinds_are_whole_else_the_whole_kind(tmp_path: Path) -> None:
    cityscapes_tree(tmp_path, "labelTrainIds")
    tree = cityscapes_tree(tmp_path)
    assert tree.data().encoding == "labelIds"
    tree.label.unlink()
    assert tree.data().encoding == "labelTrainIds"


def test_a_label_without_its_image_is_named(tmp_path: Path) -> None:
    tree = cityscapes_tree(tmp_path)
    tree.image.unlink()
    with pytest.raises(ValueError, match=r"bochum_000001_000019_leftImg8bit\.png is missing; complete the folder"):
        tree.data()


def test_the_first_of_many_missing_files_is_named_with_their_number(tmp_path: Path) -> None:
    tree = cityscapes_tree(tmp_path)
    for path in (tmp_path / "gtFine/train").rglob("*labelIds.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"aachen_000000_000019_gtFine_labelIds\.png is missing, and 1 more;"):
        tree.data()


def test_files_that_hold_the_other_kind_of_values_are_refused(tmp_path: Path) -> None:
    tree = cityscapes_tree(tmp_path, "labelTrainIds")
    tree.label.rename(str(tree.label).replace("labelTrainIds", "labelIds"))
    first = next((tmp_path / "gtFine/train/aachen").glob("*labelTrainIds.png"))
    first.rename(str(first).replace("labelTrainIds", "labelIds"))
    with pytest.raises(ValueError, match=r"must hold 0\.\.33, but .* holds 255; take gtFine's labelIds as published"):
        tree.data().load(0)


def test_images_are_named_as_the_evaluation_server_looks_for_them(tmp_path: Path) -> None:
    assert cityscapes_tree(tmp_path).data("test").image_name(0) == "berlin_000000_000019"
    assert len(CITYSCAPES_CLASSES) == len(EVALUATED)

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.trainers.trees import SIZE, values, voc_tree
from trainers.data.voc import COLOURS, Config, Dataset

PUBLISHED = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
    (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128),
    (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip


def test_the_palette_is_vocs() -> None:
    assert list(Dataset.palette) == PUBLISHED
    assert tuple(COLOURS[255]) == (224, 224, 192)
    assert len(np.unique(COLOURS, axis=0)) == 256


def test_labels_with_the_palette_are_read_as_its_indices(tmp_path: Path) -> None:
    data = voc_tree(tmp_path).data("val")
    path = data.pairs[0].label
    assert Image.open(path).mode == "P" and cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 3
    np.testing.assert_array_equal(data.load(0)[1], np.array(Image.open(path)))
    assert set(np.unique(data.load(0)[1])) == {*range(21), 255}


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("pairs", [False, True])
def test_the_augmented_list_is_read_in_both_its_forms(tmp_path: Path, below: str, pairs: bool) -> None:
    voc_tree(tmp_path, pairs=pairs)
    data = Dataset(Config(root=str(tmp_path / below)), "train")
    assert [data.image_name(index) for index in range(len(data))] == ["2008_000002", "2007_000032"]
    assert {pair.label.parent.name for pair in data.pairs if pair.label} == {"SegmentationClassAug"}


def test_the_list_goes_by_its_other_name_too(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path)
    listing = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt"
    listing.rename(listing.with_name("trainaug.txt"))
    assert len(tree.data()) == 2


def test_vocs_own_list_needs_nothing_of_sbd(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    data = Dataset(Config(root=str(tmp_path), train_list="train"), "train")
    assert [pair.label.parent.name for pair in data.pairs if pair.label] == ["SegmentationClass"]


def test_without_the_augmented_list_the_way_out_is_told(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt").unlink()
    with pytest.raises(ValueError, match=r"list must be .*train_aug\.txt, .* data\.train_list=train needs neither"):
        tree.data()


def test_a_line_of_three_words_is_refused(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt").write_text("a b c\n")
    with pytest.raises(ValueError, match=r"train_aug\.txt must be an image's name.* got \['a', 'b', 'c'\]; correct"):
        tree.data()


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"val\.txt must list at least one image, but it is empty; set data\.root"):
        tree.data("val")


def test_a_palette_of_other_colours_is_refused(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path)
    image = Image.fromarray(values(0, *range(21)))
    image.putpalette([*range(255), 0, *range(255), 0, *range(256)])
    image.save(tree.label)
    assert np.array(image).shape == SIZE
    with pytest.raises(ValueError, match=r"palette must be VOC's, but .*2007_000032\.png has other colours; take"):
        tree.data().load(1)

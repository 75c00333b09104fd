from pathlib import Path

import pytest

from tests.trainers.trees import ade20k_tree
from trainers.data.ade20k import Config, Dataset


def test_classes_are_in_the_order_of_the_published_list() -> None:
    """Some lines of objectInfo150.txt, first name of each."""
    named = {1: "wall", 4: "floor", 9: "windowpane", 13: "person", 21: "car", 45: "chest of drawers",
             90: "television", 96: "bannister", 100: "buffet", 117: "minibike", 131: "screen", 142: "crt screen",
             150: "flag"}  # fmt: skip
    assert {index: Dataset.class_names[index - 1] for index in named} == named
    assert Dataset.palette[0] == (120, 120, 120) and Dataset.palette[149] == (92, 0, 255)


@pytest.mark.parametrize("below", ["", "ADEChallengeData2016"])
def test_the_folder_or_the_one_that_holds_it_is_the_root(tmp_path: Path, below: str) -> None:
    ade20k_tree(tmp_path)
    for split, images in {"train": 2, "val": 1, "test": 1}.items():
        assert len(Dataset(Config(root=str(tmp_path / below)), split)) == images


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    tree = ade20k_tree(tmp_path)
    next((tmp_path / "ADEChallengeData2016/images/validation").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"images/validation must hold the images \*\.jpg, but holds none; set data"):
        tree.data("val")

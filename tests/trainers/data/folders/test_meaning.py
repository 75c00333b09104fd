"""What values and colours of label files stand for."""

from pathlib import Path
from typing import Any

import pytest

from trainers.data import IGNORE
from trainers.data.folders.meaning import Meaning, read_meaning

CSV = "name,r,g,b\nAnimal,64,128,64\nBridge,0,128,64\nBuilding,128,0,0\nSky,128,128,128\nVoid,0,0,0\n"


def meaning(root: Path = Path(), **settings: Any) -> Meaning:
    usual: dict[str, Any] = {"classes": ("road", "sky"), "palette": None, "mapped": {}, "ignore": ()}
    return read_meaning(root, **{**usual, **settings})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "class_dict.csv").write_text(CSV)
    return tmp_path


def test_a_list_counts_from_0() -> None:
    found = meaning(ignore=(255, 4))
    assert found.values == {0: 0, 1: 1, 255: IGNORE, 4: IGNORE} and found.colours == {}
    assert found.names == ("road", "sky") and found.ids == (0, 1) and len(set(found.palette)) == 2


def test_values_are_mapped_and_merged_and_no_others_are_known() -> None:
    found = meaning(mapped={"7": "road", "8": "road", "23": "sky"}, ignore=(0,))
    assert found.values == {7: 0, 8: 0, 23: 1, 0: IGNORE}
    assert found.ids == (7, 23)


def test_values_that_eight_bits_cannot_hold_are_no_ids() -> None:
    assert meaning(mapped={"7": "road", "1000": "sky"}).ids == (0, 1)


@pytest.mark.parametrize("palette", [((1, 2, 3), (4, 5, 6)), {"sky": (4, 5, 6), "road": (1, 2, 3)}])
def test_colours_in_order_or_by_name(palette: Any) -> None:
    found = meaning(palette=palette, ignore=((0, 0, 0),))
    assert found.colours == {(1, 2, 3): 0, (4, 5, 6): 1, (0, 0, 0): IGNORE}
    assert found.values == {0: 0, 1: 1} and found.palette == ((1, 2, 3), (4, 5, 6))


def test_a_files_classes_are_reduced(root: Path) -> None:
    found = meaning(root, classes="class_dict.csv", mapped={"Bridge": "Building"}, ignore=("Void", "Animal"))
    assert found.names == ("Building", "Sky") and found.palette == ((128, 0, 0), (128, 128, 128))
    assert found.colours == {
        (64, 128, 64): IGNORE,
        (0, 128, 64): 0,
        (128, 0, 0): 0,
        (128, 128, 128): 1,
        (0, 0, 0): IGNORE,
    }
    assert found.values == {0: IGNORE, 1: 0, 2: 0, 3: 1, 4: IGNORE}


def test_a_files_colours_are_mapped_to_classes_of_other_names(root: Path) -> None:
    found = meaning(
        root,
        classes=("sky", "building"),
        palette="class_dict.csv",
        mapped={"Bridge": "building", "Building": "building", "Sky": "sky"},
        ignore=("Void", "Animal"),
    )
    assert found.colours[(0, 128, 64)] == found.colours[(128, 0, 0)] == 1 and found.colours[(128, 128, 128)] == 0
    assert found.palette == ((128, 128, 128), (0, 128, 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ()}, "data.classes must name the classes, but got none"),
        ({"classes": ("road",)}, "must be 2 to 254 that are trained, but got 1"),
        ({"classes": tuple(map(str, range(300)))}, "must be 2 to 254 that are trained, but got 300"),
        ({"classes": ("road", "sky", "road")}, "must be different names, but 'road' stands twice"),
        ({"ignore": (0,)}, "must hold what stands for no class, but 0 stands for 'road'; .* write map:"),
        ({"ignore": ("void",)}, "or classes of the label files, but got 'void'"),
        ({"ignore": ("road",)}, "must name what is not trained, but 'road' is a class"),
        ({"mapped": {"7": "raod"}}, "must map to classes, but 'raod' is none of data.classes; did you mean 'road'"),
        ({"mapped": {"7": "road"}}, "every class must have a value or a colour, but sky has none"),
        ({"mapped": {"tree": "road"}}, "or classes of the label files, but got 'tree'"),
        ({"mapped": {"7": "road", "70000": "sky"}}, r"must be in 0\.\.65535, but got 70000"),
        ({"ignore": (-1,)}, r"must be in 0\.\.65535, but got -1"),
        ({"palette": ((1, 2, 3),)}, "one colour for each class, but has 1 for 2 classes"),
        ({"palette": ((1, 2, 3), (1, 2, 3))}, r"a colour must stand for one class, but RGB \(1, 2, 3\) does for 'sky'"),
        ({"palette": {"road": (1, 2, 3), "tree": (4, 5, 6)}}, "but 'tree' is none of data.classes; .* or ignore it"),
        ({"palette": ((1, 2, 3), (4, 5, 6)), "ignore": ((1, 2, 3),)}, r"but \(1, 2, 3\) stands for 'road'"),
        ({"classes": "class_dict.csv", "mapped": {"Sky": "Void"}, "ignore": ("Void",)}, "'Void' is none of data"),
        ({"classes": "class_dict.csv", "mapped": {"Sky": "Building"}, "ignore": ("Sky",)}, "'Sky' is a class or"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(settings: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        meaning(root, **settings)
    assert "; " in str(caught.value)


def test_a_value_that_a_file_has_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("id,name\n1,road\n1,sky\n")
    with pytest.raises(ValueError, match="a value must stand for one class, but 1 does for two"):
        meaning(tmp_path, classes="classes.csv")


def test_a_root_that_is_no_folder_is_said_before_its_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root must be the folder that holds class_dict\.csv, but got"):
        meaning(tmp_path / "none", classes="class_dict.csv")

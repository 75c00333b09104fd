"""Files by a pattern."""

from pathlib import Path

import pytest

from trainers.data.files import SplitMissingError
from trainers.data.folders.patterns import expected, find

ENDINGS = (".jpg", ".png")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path, pattern: str) -> dict[str, str]:
    files = find(root, pattern, ENDINGS, what="images")
    return {identity: path.relative_to(root).as_posix() for identity, path in files.items()}


TREE = (
    "train/a.jpg", "train/b.JPG", "train/day/c.png", "train/notes.txt", "train/._a.jpg", "train/Thumbs.db",
    "train/.ipynb_checkpoints/a.jpg", "__MACOSX/train/a.jpg",
)  # fmt: skip


@pytest.mark.parametrize("pattern", ["train", "train/", "train/{id}", "train/{id}.*", "train\\{id}"])
def test_a_folder_is_all_images_below_it(pattern: str, tmp_path: Path) -> None:
    touch(tmp_path, *TREE)
    assert found(tmp_path, pattern) == {"a": "train/a.jpg", "b": "train/b.JPG", "day/c": "train/day/c.png"}


@pytest.mark.parametrize(
    ("pattern", "expected_files"),
    [
        ("train/{id}.jpg", {"a": "train/a.jpg"}),
        ("train/*.jpg", {"a": "train/a.jpg"}),
        ("train/*", {"a": "train/a.jpg", "b": "train/b.JPG"}),
        ("train/?.*", {"a": "train/a.jpg", "b": "train/b.JPG"}),
        ("*/day/*.png", {"train/c": "train/day/c.png"}),
        ("**/*.png", {"train/day/c": "train/day/c.png"}),
        ("{id}.png", {"train/day/c": "train/day/c.png"}),
        ("train/**/{id}.png", {"c": "train/day/c.png"}),
        ("train/*/{id}.png", {"c": "train/day/c.png"}),
    ],
)
def test_patterns_find_files_and_ids(pattern: str, expected_files: dict[str, str], tmp_path: Path) -> None:
    assert found(touch(tmp_path, *TREE), pattern) == expected_files


def test_an_id_may_stand_twice_and_between_other_text(tmp_path: Path) -> None:
    touch(tmp_path, "ulm/ulm_1_img.png", "ulm/aachen_2_img.png")
    assert found(tmp_path, "{id}/{id}_1_img.png") == {"ulm": "ulm/ulm_1_img.png"}
    assert found(tmp_path, "*/{id}_img.png") == {"ulm_1": "ulm/ulm_1_img.png", "aachen_2": "ulm/aachen_2_img.png"}


def test_brackets_and_dots_are_themselves(tmp_path: Path) -> None:
    touch(tmp_path, "set[1]/a.b.png", "set1/axb.png")
    assert found(tmp_path, "set[1]/{id}.png") == {"a.b": "set[1]/a.b.png"}
    assert found(tmp_path, "set[1]/a.{id}.png") == {"b": "set[1]/a.b.png"}


def test_a_pattern_may_be_absolute(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.png")
    assert find(tmp_path / "root", f"{tmp_path}/elsewhere/*.png", ENDINGS, what="images") == {
        "a": tmp_path / "elsewhere/a.png"
    }


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "disk/a.png", "root/train/b.png")
    (tmp_path / "root/train/more").symlink_to(tmp_path / "disk")
    (tmp_path / "root/train/again").symlink_to(tmp_path / "root")
    assert found(tmp_path / "root", "train") == {"b": "train/b.png", "more/a": "train/more/a.png"}


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.png", "x/a.jpg", "y/a.png")
    with pytest.raises(ValueError, match=r"one file for each id, but .*x/a\.jpg and .*x/a\.png are both 'a'; give the"):
        find(tmp_path, "x", ENDINGS, what="images")
    with pytest.raises(ValueError, match=r"are both 'a'; give the ending, or put \{id\} where they differ"):
        find(tmp_path, "*/{id}.png", ENDINGS, what="labels")


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    touch(tmp_path, "masks/a.txt", "masks/._b.png")
    with pytest.raises(
        SplitMissingError, match=r"images=photos/train must .*photos/train is no folder; it holds masks"
    ):
        find(tmp_path, "photos/train", ENDINGS, what="images")
    with pytest.raises(SplitMissingError, match=r"images=masks must fit files, but fits none .*masks; it holds a\.txt"):
        find(tmp_path, "masks", ENDINGS, what="images")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("labels/train", "labels/train/a.png"),
        ("labels/{id}_mask.png", "labels/a_mask.png"),
        ("labels/*.tif", "labels/a.tif"),
        ("*/{id}.png", "*/a.png"),
    ],
)
def test_where_a_file_should_be(pattern: str, path: str) -> None:
    assert expected(Path("root"), pattern, "a") == Path("root") / path

"""Splits of a folder: by folders, by lists, by seeded shares."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.own import coloured, config, data, label, picture, save, write_grey, write_listed
from trainers.config import content_hash
from trainers.data import Split
from trainers.data.files import FilesMissingError, SplitMissingError
from trainers.data.folders.splits import SplitConfig, shared
from trainers.data.groups import named_group

LISTED: dict[str, Any] = {"images": "", "labels": "", "split": {"lists": "{split}.txt"}}
POOLED: dict[str, Any] = {"images": "photos/{id}.jpg", "labels": "masks/{id}.png"}
COLOURS: dict[str, Any] = {"palette": [[128, 64, 128], [70, 130, 180], [0, 0, 142], [107, 142, 35], [220, 20, 60]]}


def names(root: Path, part: Split = "train", /, **settings: Any) -> list[str]:
    found = data(root, part, **settings)
    return [found.image_name(index) for index in range(len(found))]


def test_splits_by_folder(tmp_path: Path) -> None:
    write_grey(tmp_path)
    assert names(tmp_path) == [f"train{number}" for number in range(4)]
    assert names(tmp_path, "val") == ["val0", "val1"]
    with pytest.raises(SplitMissingError, match="images/test is no folder; it holds train, val"):
        data(tmp_path, "test")


def test_splits_by_folders_of_other_names(tmp_path: Path) -> None:
    write_grey(tmp_path, {"train2017": 3, "val2017": 1})
    folders = {"folders": {"train": "train2017", "val": "val2017"}}
    assert len(names(tmp_path, split=folders)) == 3 and len(names(tmp_path, "val", split=folders)) == 1


def test_images_and_labels_may_lie_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"train/{name}.png", picture(0))
        save(tmp_path / f"train/{name}_mask.png", label(0))
    settings = {"images": "{split}/{id}.png", "labels": "{split}/{id}_mask.png"}
    assert names(tmp_path, **settings) == ["a", "b"]
    with pytest.raises(ValueError, match="must mean different files, but"):
        data(tmp_path, images="{split}/{id}.png", labels="{split}/{id}.png")


def test_an_image_without_a_label_is_named_and_a_label_without_an_image_is_noted(tmp_path: Path) -> None:
    write_grey(tmp_path)
    save(tmp_path / "labels/train/more.png", label(0))
    assert data(tmp_path).notes == (
        f"every label should have an image, but 1 have none, first {tmp_path}/labels/train/more.png; they are not used",
    )
    (tmp_path / "labels/train/train2.png").unlink()
    with pytest.raises(FilesMissingError, match=r"labels/train/train2\.png is missing; complete the folder"):
        data(tmp_path)


@pytest.mark.parametrize("separator", [" ", "\t", ", ", ";"])
def test_lists_of_windows_are_read(separator: str, tmp_path: Path) -> None:
    write_listed(tmp_path, separator)
    found = data(tmp_path, **LISTED, **COLOURS)
    assert [pair.image.name for pair in found.pairs] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [pair.label.name for pair in found.pairs if pair.label] == ["0.png", "1.png", "2.png", "3.png"]
    assert names(tmp_path, **LISTED) == ["photos/0", "photos/1", "photos/2", "photos/3"]
    assert found.load(1)[1].tolist() == label(1).tolist()


@pytest.mark.parametrize("line", ["{name}", "{name}.jpg", "photos/{name}.jpg", "{root}/photos/{name}.jpg"])
def test_a_list_may_name_images_alone(line: str, tmp_path: Path) -> None:
    write_listed(tmp_path)
    (tmp_path / "val.txt").write_text("".join(line.format(name=n, root=tmp_path) + "\n" for n in (5, 2)))
    found = data(tmp_path, "val", **{**LISTED, **POOLED}, **COLOURS)
    assert [found.image_name(index) for index in range(2)] == ["5", "2"]
    assert [pair.label for pair in found.pairs] == [tmp_path / "masks/5.png", tmp_path / "masks/2.png"]


def test_an_image_that_a_list_names_twice_is_refused(tmp_path: Path) -> None:
    write_listed(tmp_path)
    (tmp_path / "val.txt").write_text("5\n4\nphotos/5.jpg\n")
    with pytest.raises(ValueError, match="must have each image once, but val has '5' twice"):
        data(tmp_path, "val", **{**LISTED, **POOLED})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "data.groups must be a regular"),
        ("^x", "data.groups must capture"),
        ("(x)", "data.groups must fit the name"),
    ],
)
def test_a_pattern_of_groups_that_does_not_fit_is_named(pattern: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        data(write_grey(tmp_path), groups=pattern).image_group(0)


def test_absolute_paths_and_names_with_blanks(tmp_path: Path) -> None:
    save(tmp_path / "other disk/my photo.jpg", picture(0))
    save(tmp_path / "other disk/my mask.png", label(0))
    root = tmp_path / "root"
    root.mkdir()
    (root / "train.txt").write_text(f"{tmp_path}/other disk/my photo.jpg\t../other disk/my mask.png\n")
    found = data(root, **LISTED)
    assert found.image_name(0) == f"{tmp_path}/other disk/my photo".lstrip("/")
    assert found.load(0)[1].tolist() == label(0).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.txt must list at least one image, but is empty"),
        ("a.jpg b.png c.png\n", r"line 1 of .*train\.txt must name an image and its label, .* but is 'a\.jpg b\.png c"),
        (
            "\n\nC:\\data\\a.jpg C:\\data\\a.png\n",
            r"line 3 of .* below data\.root, but got 'C:/data/a\.jpg'",
        ),
        ("x/a.jpg y/a.png\n", r"x/a\.jpg is missing; paths in lists are relative to data\.root"),
        ("photos/0.jpg masks/none.png\n", r"masks/none\.png is missing; complete the folder, or take the line out of"),
        ("photos/0.jpg masks/0.png\nphotos/0.jpg masks/0.png\n", "each image once, but train has 'photos/0' twice"),
        ("5\n5\n", "line 1 of .* must name an image and its label"),
        ("..\n", "line 1 of .* must name an image and its label"),
        ("nobody\n", "line 1 of .* or set data.images and data.labels"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    write_listed(tmp_path)
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        data(tmp_path, **LISTED)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": "photos"}, r"has no \{split\} and data\.split is not set; put \{split\} into data\.images"),
        ({"images": "photos/{split}", "split": {"shares": {"val": 0.2}}}, "must be the only way to split"),
        ({"split": {"lists": "all.txt"}}, r"must name a list for each split, but got 'all\.txt'; put \{split\}"),
        ({"split": {"lists": {"val": "val.txt"}}}, "must name a list of train images, but names none; add train: FILE"),
        (
            {"images": "", "labels": "masks", "split": {"shares": {"val": 0.2}}},
            r"data\.images must say where the images are",
        ),
        ({**POOLED, "labels": "", "split": {"shares": {"val": 0.2}}}, r"data\.labels must say where the labels are"),
        ({**POOLED, "labels": "none/{id}.png", "split": {"shares": {"val": 0.2}}}, "none is no folder; it holds masks"),
        ({"root": ""}, r"data\.root must be your folder, but got '', which is none; own data: .* docs/own-data\.md"),
    ],
)
def test_what_says_no_split_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_listed(tmp_path)
    with pytest.raises(ValueError, match=message):
        data(tmp_path, **settings)


def all_shared(count: int, group: str | None = None, **shares: float) -> dict[Split, list[str]]:
    """Names by split, of images `0000` and so on."""
    every = [f"{number:04}" for number in range(count)]
    how = SplitConfig(shares=shares)  # type: ignore[arg-type]
    splits: list[Split] = ["train", *shares]  # type: ignore[list-item]
    return {split: shared(every, how, named_group(group), split) for split in splits}


def test_shares_are_of_so_many_images_and_disjoint() -> None:
    found = all_shared(50, val=0.2, test=0.1)
    assert {split: len(part) for split, part in found.items()} == {"train": 35, "val": 10, "test": 5}
    assert len({name for part in found.values() for name in part}) == 50


def test_shares_depend_on_the_seed_alone_and_not_on_the_order() -> None:
    every = [f"{number:04}" for number in range(50)]
    drawn = {
        seed: frozenset(shared(order, SplitConfig(shares={"val": 0.2}, seed=seed), str, "val"))
        for seed in (0, 1)
        for order in (every, every[::-1])
    }
    assert drawn[0] != drawn[1] and len(drawn[0]) == 10
    assert drawn[0] == set(shared(every[::-1], SplitConfig(shares={"val": 0.2}), str, "val"))


def test_groups_stay_together() -> None:
    found = all_shared(100, group=r"^(\d{3})", val=0.3)
    groups = {split: {name[:3] for name in part} for split, part in found.items()}
    assert len(found["val"]) == 30 and not groups["train"] & groups["val"]


@pytest.mark.parametrize(("count", "shares"), [(1, {"val": 0.2}), (2, {"val": 0.9, "test": 0.9})])
def test_shares_that_leave_nothing_are_refused(count: int, shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must leave images in every split, but"):
        all_shared(count, **shares)


def test_a_few_images_are_shared_too() -> None:
    assert {split: len(part) for split, part in all_shared(3, val=0.1).items()} == {"train": 2, "val": 1}


def test_shares_of_a_folder(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / f"photos/{number % 5}_{number}.jpg", picture(number))
        save(tmp_path / f"masks/{number % 5}_{number}.png", coloured(label(number)))
    settings: dict[str, Any] = {**POOLED, "split": {"shares": {"val": 0.2}}, "groups": "^([^_]+)_"}
    train, val = names(tmp_path, **settings), names(tmp_path, "val", **settings)
    assert len(train) == 8 and len(val) == 2 and val[0][0] == val[1][0]
    found = data(tmp_path, "val", **settings)
    assert {found.image_group(index) for index in range(2)} == {val[0][0]}
    with pytest.raises(SplitMissingError, match="must give test a share, but gives it none"):
        data(tmp_path, "test", **settings)


def test_a_moved_folder_is_the_same_trial_and_another_share_is_not(tmp_path: Path) -> None:
    shares = {"split": {"shares": {"val": 0.2}}}
    assert content_hash(config(tmp_path, **shares)) == content_hash(config(tmp_path / "elsewhere", **shares))
    assert content_hash(config(tmp_path, **shares)) != content_hash(config(tmp_path, split={"shares": {"val": 0.3}}))

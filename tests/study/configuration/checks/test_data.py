"""The dataset of a study: images of which kind, which classes, and what a crop has of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from study.configuration.checks.data import check_apart, check_crop, check_sample, open_splits, read_sample, spread
from study.configuration.checks.findings import Finding
from study.configuration.config import StudyConfig
from tests.study.conftest import tiny
from trainers.config import AugmentConfig, parse
from trainers.data import camvid, streets


def write_camvid(root: Path, values: tuple[int, ...], *, images: int = 4, val: str = "val") -> camvid.Config:
    """A set in CamVid's layout of images of 48 x 64, whose labels hold these values."""
    rng = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 2)):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            label = np.kron(rng.permutation(np.resize(values, 48)).reshape(6, 8), np.ones((8, 8))).astype(np.uint8)
            cv2.imwrite(str(root / split / f"{i}.png"), np.repeat(label[..., None] * 20, 3, 2))
            cv2.imwrite(str(root / f"{split}annot" / f"{i}.png"), label)
        (root / f"{split}.txt").write_text("".join(f"{split}/{i}.png {split}annot/{i}.png\n" for i in range(count)))
    return camvid.Config(root=str(root))


def found_in(data: camvid.Config) -> list[Finding]:
    sample = read_sample(camvid.Dataset(data, "train"), camvid.Dataset(data, "val"))
    return list(check_sample(sample, data))


@pytest.mark.parametrize(
    ("values", "is_fault", "message"),
    [
        (tuple(range(12)), None, ""),
        (tuple(range(3)), True, "of its 11 the 6 that were read hold 3 (sky, building, pole); a set of other classes"),
        ((0, 1, 2, 11), True, "hold 3 (sky, building, pole)"),
        ((11,), True, "hold 0 (none)"),
        (tuple(range(9)), False, "but hold no pedestrian, bicyclist; their IoU will be 0"),
        ((0, 1, 77), True, "labels must hold 0..11, but"),
    ],
)
def test_labels_hold_the_classes_that_they_are_said_to(
    values: tuple[int, ...], is_fault: bool | None, message: str, tmp_path: Path
) -> None:
    found = found_in(write_camvid(tmp_path, values))
    assert {finding.is_fault for finding in found} == (set() if is_fault is None else {is_fault})
    assert all(message in finding.text for finding in found)


def test_a_class_that_few_labels_hold_is_looked_for(tmp_path: Path) -> None:
    data = write_camvid(tmp_path, tuple(range(5)), images=40)
    rare = tmp_path / "trainannot" / "7.png"
    cv2.imwrite(str(rare), np.kron(np.resize(np.arange(11), 48).reshape(6, 8), np.ones((8, 8))).astype(np.uint8))
    assert found_in(data) == []


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    data = write_camvid(tmp_path, tuple(range(11)))
    (tmp_path / "train" / "3.png").write_bytes(b"")
    (found,) = found_in(data)
    assert found.is_fault and f"{tmp_path}/train/3.png must be a whole image" in found.text


def test_images_that_judge_are_not_trained_on(tmp_path: Path) -> None:
    data = write_camvid(tmp_path, tuple(range(11)))
    values = tiny(data={"name": "camvid", "root": data.root}, arms={"one": {"trials": 1}})
    config = parse(StudyConfig, values)
    assert list(check_apart(open_splits(config))) == []
    (tmp_path / "val.txt").write_text("val/0.png valannot/0.png\ntrain/1.png trainannot/1.png\n")
    (found,) = check_apart(open_splits(config))
    assert not found.is_fault and f"1 of 2 are, {tmp_path}/train/1.png the first" in found.text


def test_drawn_images_are_what_they_are_said_to_be() -> None:
    data = streets.Config(size=(48, 64), train_images=2, val_images=1)
    sample = read_sample(streets.Dataset(data, "train"), streets.Dataset(data, "val"))
    assert sample.sizes == [(48, 64)] and list(check_sample(sample, data)) == []


@pytest.mark.parametrize(
    ("crop", "scale", "is_fault"),
    [
        ((48, 64), (0.5, 2.0), None),
        ((48, 64), (1.0, 1.0), None),
        ((96, 128), (1.0, 2.0), None),
        ((96, 128), (0.5, 2.0), False),
        ((480, 640), (0.5, 2.0), True),
        ((480, 16), (1.0, 1.0), True),
        ((16, 16), (2.0, 1.0), True),
    ],
)
def test_a_crop_is_filled_by_an_image(crop: tuple[int, int], scale: tuple[float, float], is_fault: bool | None) -> None:
    found = list(check_crop(AugmentConfig(crop=crop, scale=scale), [(24, 32), (48, 64)]))
    assert [finding.is_fault for finding in found] == ([] if is_fault is None else [is_fault])


@pytest.mark.parametrize(("length", "count", "expected"), [(0, 3, []), (2, 3, [0, 1]), (9, 3, [0, 4, 8])])
def test_samples_are_spread(length: int, count: int, expected: list[int]) -> None:
    assert spread(length, count) == expected


def test_of_images_that_could_not_be_read_a_crop_says_nothing() -> None:
    """The sample's own findings tell what is wrong with them."""
    assert list(check_crop(AugmentConfig(crop=(48, 64)), [])) == []

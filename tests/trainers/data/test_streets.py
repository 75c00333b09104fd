import hashlib
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tests.conftest import ROOT
from trainers.config import content_hash
from trainers.data import IGNORE, Split
from trainers.data.streets import Config, Dataset

CLASSES = len(Dataset.class_names)
POLE = Dataset.class_names.index("pole")

CAMVID_PERCENT = {
    "sky": 16.9,
    "building": 23.3,
    "pole": 1.0,
    "road": 31.7,
    "pavement": 4.5,
    "tree": 9.7,
    "sign": 1.2,
    "fence": 1.1,
    "car": 5.9,
    "pedestrian": 0.6,
    "bicyclist": 0.3,
}
"""Shares of pixels in CamVid's training images; what is missing to 100 is void."""

FINGERPRINT = """
import hashlib
from trainers.data.streets import Config, Dataset
image, label = Dataset(Config(), "val").load(7)
print(hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    dataset = Dataset(Config(train_images=200), "train")
    return np.stack([dataset.load(index)[1] for index in range(len(dataset))])


def test_an_image_is_the_same_in_every_call_and_process() -> None:
    image, label = Dataset(Config(), "val").load(7)
    again = Dataset(Config(), "val").load(7)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label, again[1])
    fresh = subprocess.run([sys.executable, "-c", FINGERPRINT], cwd=ROOT, capture_output=True, text=True, check=True)
    here = hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()
    assert fresh.stdout.strip() == here


def test_an_image_does_not_depend_on_how_many_there_are_or_which_was_loaded_before() -> None:
    few, many = Dataset(Config(train_images=5), "train"), Dataset(Config(), "train")
    many.load(150)
    np.testing.assert_array_equal(few.load(4)[0], many.load(4)[0])


def test_another_drawing_has_other_images_of_the_same_kind() -> None:
    first, other = (Dataset(Config(drawing=drawing), "train") for drawing in (0, 1))
    assert not any(np.array_equal(first.load(index)[0], other.load(index)[0]) for index in range(4))
    assert content_hash(Config(drawing=0)) == content_hash(Config()) != content_hash(Config(drawing=1))


def test_no_two_images_are_alike_within_and_between_splits() -> None:
    seen = set()
    for split in ("train", "val", "test"):
        dataset = Dataset(Config(train_images=20, val_images=20, test_images=20), split)
        seen |= {dataset.load(index)[0].tobytes() for index in range(20)}
    assert len(seen) == 60


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 32), (96, 128), (192, 256)])
def test_shapes_dtypes_and_values(size: tuple[int, int]) -> None:
    dataset = Dataset(Config(size=size), "train")
    for index in range(8):
        image, label = dataset.load(index)
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert label.shape == size and label.dtype == np.uint8
        assert set(np.unique(label)) <= {*range(CLASSES), IGNORE}
        assert image.std() > 5


def test_another_size_shows_the_same_scene() -> None:
    small = Dataset(Config(size=(48, 64)), "val").load(3)[1]
    large = Dataset(Config(size=(96, 128)), "val").load(3)[1][::2, ::2]
    other = Dataset(Config(size=(96, 128)), "val").load(4)[1][::2, ::2]
    assert (small == large).mean() > 0.85 > (small == other).mean()


def test_every_class_occurs_in_the_default_validation_images() -> None:
    dataset = Dataset(Config(), "val")
    present = {int(label) for index in range(60) for label in np.unique(dataset.load(index)[1])}
    assert present == {*range(CLASSES), IGNORE}


def test_shares_of_pixels_are_near_camvids(labels: NDArray[np.uint8]) -> None:
    percent = 100 * np.bincount(labels.ravel(), minlength=256) / labels.size
    for name, target in CAMVID_PERCENT.items():
        tolerance = 0.3 if target > 4 else 0.5
        assert percent[Dataset.class_names.index(name)] == pytest.approx(target, rel=tolerance), name
    assert percent[IGNORE] == pytest.approx(4.0, rel=0.3)


def test_poles_are_one_or_two_pixels_wide(labels: NDArray[np.uint8]) -> None:
    beside = np.pad(labels == POLE, ((0, 0), (0, 0), (1, 1)))
    starts = beside[..., 1:] & ~beside[..., :-1]
    assert beside.sum() / starts.sum() < 2


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_out_of_range_is_refused(split: Split, index: int) -> None:
    dataset = Dataset(Config(train_images=3, val_images=3), split)
    assert len(dataset) == 3
    with pytest.raises(IndexError, match=r"index must be in \[0, 3\)"):
        dataset.load(index)


def test_names_and_colours() -> None:
    dataset = Dataset(Config(), "val")
    assert dataset.image_name(17) == "val/00017"
    assert len(Dataset.class_names) == len(set(Dataset.palette)) == 11


def test_config_reads_lists_and_refuses_sizes_that_are_too_small() -> None:
    adapter = TypeAdapter(Config)
    assert adapter.validate_python({"name": "streets", "size": [64, 80]}) == Config(size=(64, 80))
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        adapter.validate_python({"size": [96, 31]})

"""What is kept of predictions: scores of the whole image, arrays to draw, and one file that may be damaged."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.pictures.drawing import class_map, photograph, right_map, with_palette
from analysis.pictures.predictions import (
    BASELINE,
    BEST,
    BOTH,
    IGNORED,
    NEITHER,
    ONLY_BASELINE,
    ONLY_BEST,
    TEACHER,
    WIDTH,
    Pictures,
    PredictedImage,
    keep,
    kept,
    small,
    who_is_right,
)

CLASSES = 4
PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200))
KEY = {"choice": [1, 2], "teacher": None}


def image(height: int = 30, width: int = 40, seed: int = 0) -> PredictedImage:
    return small("val/1", "drawn", **arrays(height, width, seed), classes=CLASSES)


def arrays(height: int, width: int, seed: int) -> dict:
    drawn = np.random.default_rng(seed)
    label = drawn.integers(0, CLASSES, (height, width)).astype(np.uint8)
    label[:3] = IGNORED
    predictions = {
        whose: np.where(drawn.random(label.shape) < share, label % CLASSES, 1).astype(np.uint8)
        for whose, share in ((BASELINE, 0.3), (BEST, 0.6), (TEACHER, 0.9))
    }
    picture = drawn.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return {"image": picture, "label": label, "predictions": predictions}


def pictures(*images: PredictedImage, difficulty: bytes = b"a PNG") -> Pictures:
    names = {BASELINE: "baseline-0", BEST: "kd-1", TEACHER: "teacher"}
    return Pictures(
        names=names,
        class_names=("a", "b", "c", "d"),
        palette=PALETTE,
        images=images,
        difficulty=difficulty,
        notes=("n",),
    )


@pytest.mark.parametrize("width", [40, 3 * WIDTH + 7])
def test_scores_are_those_of_the_whole_image_by_the_definition(width: int) -> None:
    given = arrays(20, width, 3)
    found = small("val/1", "drawn", **given, classes=CLASSES)
    label = given["label"]
    valid = label != IGNORED
    for whose, prediction in given["predictions"].items():
        ious = []
        for number in range(CLASSES):
            both = int(((label == number) & (prediction == number) & valid).sum())
            either = int((((label == number) | (prediction == number)) & valid).sum())
            ious += [both / either] if either else []
        assert found.miou_percent[whose] == pytest.approx(100 * sum(ious) / len(ious))
    best, baseline = (given["predictions"][whose] == label for whose in (BEST, BASELINE))
    shares = [(best & baseline), (best & ~baseline), (~best & baseline), ~(best | baseline)]
    assert found.agreement == pytest.approx([100 * (one & valid).sum() / valid.sum() for one in shares])
    assert sum(found.agreement) == pytest.approx(100)


def test_an_image_without_labels_has_no_score() -> None:
    given = arrays(10, 10, 0)
    given["label"][:] = IGNORED
    found = small("val/1", "drawn", **given, classes=CLASSES)
    assert math.isnan(found.miou_percent[BEST]) and found.agreement == ()


def test_large_images_are_thinned_and_small_ones_stay() -> None:
    same, large = image(), image(90, 3 * WIDTH)
    assert same.image.shape == (30, 40, 3) and (same.label == arrays(30, 40, 0)["label"]).all()
    assert large.image.shape == (30, WIDTH, 3) and large.label.shape == large.predictions[BEST].shape == (30, WIDTH)
    whole = arrays(90, 3 * WIDTH, 0)
    assert (large.label == whole["label"][1::3, 1::3]).all()  # the middle of each three
    assert large.image[5, 7].astype(float) == pytest.approx(whole["image"][15:18, 21:24].mean((0, 1)), abs=1)


def test_who_is_right_is_told_apart() -> None:
    label = np.array([[0, 1, 2, 3, IGNORED]], np.uint8)
    predictions = {BASELINE: np.array([[0, 0, 2, 0, 0]]), BEST: np.array([[0, 1, 0, 0, 0]])}
    assert who_is_right(label, predictions).tolist() == [[BOTH, ONLY_BEST, ONLY_BASELINE, NEITHER, IGNORED]]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    made = pictures(image(), image(seed=1))
    keep(tmp_path / "pictures.npz", KEY, made)
    found = kept(tmp_path / "pictures.npz", KEY)
    assert found is not None and [path.name for path in tmp_path.iterdir()] == ["pictures.npz"]
    assert (found.names, found.class_names, found.palette) == (made.names, made.class_names, PALETTE)
    assert (found.difficulty, found.notes) == (b"a PNG", ("n",))
    for one, other in zip(made.images, found.images, strict=True):
        assert (one.name, one.why, one.miou_percent, one.agreement) == (
            other.name, other.why, other.miou_percent, other.agreement,
        )  # fmt: skip
        assert all((mine == other.predictions[whose]).all() for whose, mine in one.predictions.items())
        assert (one.image == other.image).all() and (one.label == other.label).all()


def test_what_is_of_something_else_or_damaged_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    assert kept(path, KEY) is None
    keep(path, KEY, pictures(image()))
    assert kept(path, {**KEY, "teacher": "another"}) is None
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at])
        assert kept(path, KEY) is None
    for at in range(30, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        kept(path, KEY)  # a byte that nothing depends on may differ; nothing is raised in any case


def test_class_maps_have_the_colours_of_the_dataset_and_are_small() -> None:
    one = image()
    content = class_map(one.label, PALETTE)
    assert content.startswith(b"\x89PNG") and len(content) < 1500
    drawn = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    for number, colour in enumerate(PALETTE):
        assert (drawn[one.label == number] == colour).all()
    assert (drawn[one.label == IGNORED] == 255).all()
    right = np.asarray(Image.open(BytesIO(right_map(who_is_right(one.label, one.predictions)))).convert("RGB"))
    assert len({tuple(pixel) for pixel in right.reshape(-1, 3).tolist()}) == 5


def test_photographs_and_figures_are_files_that_browsers_read() -> None:
    photo = np.full((20, 30, 3), 90, np.uint8)
    read = np.asarray(Image.open(BytesIO(photograph(photo))))
    assert read.shape == photo.shape and abs(read.astype(int) - 90).max() < 4
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(buffer, "PNG")
    few = with_palette(buffer.getvalue())
    assert len(few) < len(buffer.getvalue()) / 2 and Image.open(BytesIO(few)).mode == "P"

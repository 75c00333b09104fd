"""A folder of one's own as a dataset: images of many kinds, two published sets in their layouts, studies on them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.pages import described
from tests.trainers.own import COLOURS, SIZE, coloured, config, data, label, picture, save, write_grey, write_listed
from trainers.config import canonical_json, parse
from trainers.context import LocalContext
from trainers.data import IGNORE
from trainers.data.classes import classes_of
from trainers.data.decoding import read_image
from trainers.data.fingerprint import fingerprint
from trainers.data.folder import Config
from trainers.data.splits import judging_images, training_images
from trainers.worker import attempt

PICTURE = picture(0)


def grey(path: Path) -> np.ndarray:
    save(path, PICTURE[..., 0])
    return np.repeat(PICTURE[..., :1], 3, 2)


def cmyk(path: Path) -> np.ndarray:
    plain = np.full((*SIZE, 3), (200, 60, 30), np.uint8)
    Image.fromarray(plain).convert("CMYK").save(path, quality=95)
    return plain


def sixteen_bits(path: Path) -> np.ndarray:
    wide = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3)).astype(np.uint16)
    assert cv2.imwrite(str(path), wide[..., ::-1])
    return wide / 257


def with_alpha(path: Path) -> np.ndarray:
    save(path, np.dstack([PICTURE, np.indices(SIZE).sum(0).astype(np.uint8)]), lossless=True, exact=True)
    return PICTURE


def plain(path: Path) -> np.ndarray:
    save(path, PICTURE, lossless=True)
    return PICTURE


IMAGES = {
    "grey.jpg": (grey, 40), "cmyk.jpg": (cmyk, 4), "grey.png": (grey, 0), "alpha.png": (with_alpha, 0),
    "wide.png": (sixteen_bits, 1), "wide.tif": (sixteen_bits, 1), "plain.tif": (plain, 0), "grey.tif": (grey, 0),
    "plain.webp": (plain, 0), "alpha.webp": (with_alpha, 0), "plain.bmp": (plain, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_of_every_kind_becomes_rgb(kind: str, tmp_path: Path) -> None:
    write, tolerance = IMAGES[kind]
    expected = write(tmp_path / kind)
    found = read_image(tmp_path / kind)
    assert found.dtype == np.uint8 and found.shape == (*SIZE, 3)
    assert abs(found - expected.astype(float)).max() <= tolerance


def test_an_image_of_floating_point_values_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", PICTURE[..., 0].astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"8 or 16 bits a channel, but .*a\.tif holds float32; scale it to 0\.\.255"):
        read_image(tmp_path / "a.tif")


def turned_by_header(root: Path, *, label_turned: bool) -> None:
    """An image of 16 x 24 whose header says that it stands on its side."""
    header = Image.Exif()
    header[0x0112] = 6
    for split in ("train", "val"):
        save(root / f"images/{split}/a.jpg", PICTURE, exif=header)
        save(root / f"labels/{split}/a.png", np.rot90(label(0), -1) if label_turned else label(0))


@pytest.mark.parametrize("turned", [False, True])
def test_the_orientation_is_the_pixels_or_the_headers(turned: bool, tmp_path: Path) -> None:
    turned_by_header(tmp_path, label_turned=turned)
    right, wrong = ("exif", "stored") if turned else ("stored", "exif")
    image, values = data(tmp_path, orientation=right).load(0)
    assert image.shape[:2] == values.shape == (SIZE[::-1] if turned else SIZE)
    with pytest.raises(ValueError, match=f"must have the same size, but .* data.orientation={right} (does|leaves)"):
        data(tmp_path, orientation=wrong).load(0)


def test_sizes_that_differ_for_no_such_reason_are_refused(tmp_path: Path) -> None:
    write_grey(tmp_path)
    save(tmp_path / "labels/train/train0.png", label(0)[1:])
    with pytest.raises(ValueError, match=r"train0\.png is \(15, 24\) and its image \(16, 24\); save both at one size"):
        data(tmp_path).load(0)


def test_images_may_differ_in_size_or_be_resized(tmp_path: Path) -> None:
    write_grey(tmp_path)
    save(tmp_path / "images/train/large.png", picture(9, (32, 40)))
    save(tmp_path / "labels/train/large.png", label(9, size=(32, 40)))
    assert {data(tmp_path).load(index)[1].shape for index in range(5)} == {SIZE, (32, 40)}
    assert {data(tmp_path, size=[16, 16]).load(index)[0].shape for index in range(5)} == {(16, 16, 3)}


CAMVID = [
    "Animal,64,128,64",
    "Archway,192,0,128",
    "Bicyclist,0,128,192",
    "Bridge,0,128,64",
    "Building,128,0,0",
    "Car,64,0,128",
    "CartLuggagePram,64,0,192",
    "Child,192,128,64",
    "Column_Pole,192,192,128",
    "Fence,64,64,128",
    "LaneMkgsDriv,128,0,192",
    "LaneMkgsNonDriv,192,0,64",
    "Misc_Text,128,128,64",
    "MotorcycleScooter,192,0,192",
    "OtherMoving,128,64,64",
    "ParkingBlock,64,192,128",
    "Pedestrian,64,64,0",
    "Road,128,64,128",
    "RoadShoulder,128,128,192",
    "Sidewalk,0,0,192",
    "SignSymbol,192,128,128",
    "Sky,128,128,128",
    "SUVPickupTruck,64,128,192",
    "TrafficCone,0,0,64",
    "TrafficLight,0,64,64",
    "Train,192,64,128",
    "Tree,128,128,0",
    "Truck_Bus,192,128,192",
    "Tunnel,64,0,64",
    "VegetationMisc,192,192,0",
    "Void,0,0,0",
    "Wall,64,192,0",
]
"""Rows of its class_dict.csv."""
ELEVEN = ["Sky", "Building", "Column_Pole", "Road", "Sidewalk", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian",
          "Bicyclist"]  # fmt: skip


MERGED = {
    "Bridge": "Building", "Wall": "Building", "Tunnel": "Building", "Archway": "Building", "TrafficCone": "Column_Pole",
    "LaneMkgsDriv": "Road", "LaneMkgsNonDriv": "Road", "ParkingBlock": "Sidewalk", "RoadShoulder": "Sidewalk",
    "VegetationMisc": "Tree", "Misc_Text": "SignSymbol", "TrafficLight": "SignSymbol", "SUVPickupTruck": "Car",
    "Truck_Bus": "Car", "Train": "Car", "OtherMoving": "Car", "Child": "Pedestrian", "CartLuggagePram": "Pedestrian",
    "Animal": "Pedestrian", "MotorcycleScooter": "Bicyclist",
}  # fmt: skip


def write_camvid(root: Path) -> None:
    rows = [row.split(",") for row in CAMVID]
    colours = [(int(red), int(green), int(blue)) for _, red, green, blue in rows]
    (root / "class_dict.csv").write_text("name,r,g,b\n" + "\n".join(CAMVID) + "\n")
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        for number in range(count):
            name = f"0016E5_{len(split)}{number:04}"
            save(root / f"{split}/{name}.png", picture(number))
            save(root / f"{split}_labels/{name}_L.png", coloured(label(number, *range(32)), colours))


def test_the_whole_camvid_in_its_32_colours_becomes_eleven_classes(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    page = described("name: folder", "_labels/{id}_L.png")
    read = parse(Config, {**page, "root": str(tmp_path), "size": None})
    assert classes_of(read).names == tuple(ELEVEN)
    splits = {"train": training_images(read), "val": judging_images(read, "val"), "test": judging_images(read, "test")}
    assert {split: len(found) for split, found in splits.items()} == {"train": 3, "val": 1, "test": 1}
    found = splits["train"].load(0)[1]
    for value, row in enumerate(CAMVID):
        source = row.split(",")[0]
        expected = IGNORE if source == "Void" else ELEVEN.index(MERGED.get(source, source))
        assert set(found[label(0, *range(32)) == value]) == {expected}, source


@pytest.mark.parametrize("kind", ["labelTrainIds", "raw"])
def test_the_layout_of_coco_stuff(kind: str, tmp_path: Path) -> None:
    page = described("stuffthingmaps_trainval2017", "classes.txt" if kind == "labelTrainIds" else "coco.json")
    names = [f"thing{number}" for number in range(171 if kind == "labelTrainIds" else 182)]
    held: Any = names if kind == "labelTrainIds" else {str(value): name for value, name in enumerate(names)}
    (tmp_path / page["classes"]).write_text(json.dumps(held) if kind == "raw" else "\n".join(names))
    ending = "_labelTrainIds.png" if kind == "labelTrainIds" else ".png"
    for split in ("train2017", "val2017"):
        for number in range(2):
            name = f"{split}/{number:012}"
            save(tmp_path / f"images/{name}.jpg", picture(number))
            save(tmp_path / f"annotations/stuffthingmaps_trainval2017/{name}{ending}", label(number, 0, 5, 170, 255))
            if kind == "labelTrainIds":  # beside those that they were made of
                save(tmp_path / f"annotations/stuffthingmaps_trainval2017/{name}.png", label(number, 0, 181, 255))
    found = parse(Config, {**page, "root": str(tmp_path)})
    assert len(classes_of(found).names) == len(names)
    image, values = training_images(found).load(0)
    assert image.shape == (*SIZE, 3) and set(np.unique(values)) == {0, 5, 170, IGNORE}


def test_a_test_split_may_have_no_labels(tmp_path: Path) -> None:
    write_grey(tmp_path)
    save(tmp_path / "images/test/a.jpg", PICTURE)
    found = data(tmp_path, "test")
    assert not found.is_labelled and (found.load(0)[1] == IGNORE).all()
    with pytest.raises(ValueError, match=r"with labels, but the test images have none; choose train or val, or hand"):
        judging_images(config(tmp_path), "test")


def test_every_file_is_in_the_fingerprint(tmp_path: Path) -> None:
    write_listed(tmp_path)
    (tmp_path / "classes.csv").write_text("name,r,g,b\nroad,128,64,128\nother,70,130,180\n")
    settings: dict[str, Any] = {"images": "", "labels": "", "split": {"lists": "{split}.txt"}, "classes": "classes.csv"}
    found = fingerprint(config(tmp_path, **settings), ["train"])
    pairs = [name for number in range(4) for name in (f"photos/{number}.jpg", f"masks/{number}.png")]
    assert set(found) == {"classes.csv", "train.txt", *pairs}


def test_a_holdout_keeps_groups_together(tmp_path: Path) -> None:
    write_grey(tmp_path, {"train": 24, "val": 1})
    settings: dict[str, Any] = {"groups": r"^\D+(\d)"}
    held = judging_images(config(tmp_path, **settings), "holdout", holdout=0.3)
    kept = training_images(config(tmp_path, **settings), holdout=0.3)
    groups = [{part.image_name(index)[5] for index in range(len(part))} for part in (held, kept)]
    assert len(held) + len(kept) == 24 and not groups[0] & groups[1]


def test_a_configuration_survives_being_written_down() -> None:
    written = {
        "classes": ["a", "b"],
        "palette": {"b": [4, 5, 6], "a": [1, 2, 3]},
        "map": {10: "b", 7: "a"},
        "ignore": [255, [0, 0, 0]],
    }
    read = parse(Config, written)
    again = parse(Config, json.loads(canonical_json(read)))
    assert again == read and classes_of(again) == classes_of(read)
    assert classes_of(read).ids == (7, 10) and classes_of(read).palette == ((1, 2, 3), (4, 5, 6))


def test_a_trial_trains_on_a_folder(tmp_path: Path) -> None:
    write_listed(tmp_path / "mine")
    trial = {
        "data": {
            "name": "folder",
            "root": str(tmp_path / "mine"),
            "classes": list("abcde"),
            "palette": COLOURS,
            "split": {"lists": "{split}.txt"},
        },
        "augment": {"crop": [16, 24]},
        "student": {"architecture": "pspnet", "backbone": "mobilenetv2_035"},
        "train": {"iterations": 2, "batch": 2, "evaluate_every": 2},
        "task": {"weighting": "uniform"},
    }
    context = LocalContext(tmp_path / "trial")
    assert "error" not in attempt(trial, context, 0)
    assert {f"eval/iou_percent/{name}" for name in "abcde"} <= context.reports[-1].keys()

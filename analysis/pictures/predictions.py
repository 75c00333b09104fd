"""What is kept of predictions on some images: arrays at the size in which they are drawn, and scores of the whole ones.

They lie in one file in the study's folder, so that a second report needs neither checkpoints nor the dataset. The file
holds the images themselves: who may not hand the dataset on may not hand this file on.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import miou_percent

Array = NDArray[Any]

FILE = "pictures.npz"
"""In a study's folder."""
FORMAT = 1
IGNORED = 255
"""In labels."""
WIDTH = 400
"""Columns up to which an image is drawn at its own size, in pixels."""
BASELINE, BEST, TEACHER = "baseline", "best", "teacher"
"""Whose prediction it is."""
RDD = "rdd"
"""Whose maps of difficulty are drawn."""
BOTH, ONLY_BEST, ONLY_BASELINE, NEITHER = range(4)
"""Who is right at a pixel."""


@dataclass(frozen=True, kw_only=True)
class PredictedImage:
    """One image with what networks predict there, small enough to be drawn.

    Attributes:
        name: in its split.
        why: it was chosen.
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W], IGNORED where unlabelled.
        predictions: uint8 [H, W] by whose it is.
        miou_percent: of the whole image by whose prediction it is; NaN where nothing is labelled.
        agreement: share in percent of the whole image's labelled pixels by who is right; empty where there is no
            baseline, or nothing is labelled.
    """

    name: str
    why: str
    image: Array
    label: Array
    predictions: Mapping[str, Array]
    miou_percent: Mapping[str, float]
    agreement: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a study.

    Attributes:
        names: how each network is called, by whose it is.
        class_names: by class number.
        palette: RGB of each class.
        images: the images.
        difficulty: a PNG of what RDD finds hard in the first image; empty where there is none.
        notes: what is lacking, in sentences.
    """

    names: Mapping[str, str]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    images: tuple[PredictedImage, ...]
    difficulty: bytes = b""
    notes: tuple[str, ...] = ()


def small(
    name: str, why: str, *, image: Array, label: Array, predictions: Mapping[str, Array], classes: int
) -> PredictedImage:
    """An image scored at its own size, and made small.

    Args:
        name: in its split.
        why: it was chosen.
        image: uint8 [H, W, 3].
        label: [H, W], IGNORED where unlabelled.
        predictions: [H, W] by whose it is.
        classes: how many there are.
    """
    return PredictedImage(
        name=name,
        why=why,
        image=_averaged(image),
        label=_thinned(label).astype(np.uint8),
        predictions={whose: _thinned(found).astype(np.uint8) for whose, found in predictions.items()},
        miou_percent={whose: _score(found, label, classes) for whose, found in predictions.items()},
        agreement=_shares(label, predictions),
    )


def who_is_right(label: Array, predictions: Mapping[str, Array]) -> Array:
    """BOTH, ONLY_BEST, ONLY_BASELINE or NEITHER at each pixel; IGNORED where unlabelled."""
    baseline, best = (predictions[whose] == label for whose in (BASELINE, BEST))
    found = np.select([baseline & best, best, baseline], [BOTH, ONLY_BEST, ONLY_BASELINE], NEITHER)
    return np.where(label == IGNORED, IGNORED, found).astype(np.uint8)


def _shares(label: Array, predictions: Mapping[str, Array]) -> tuple[float, ...]:
    if BASELINE not in predictions or not (label != IGNORED).any():
        return ()
    counted = np.bincount(who_is_right(label, predictions).ravel(), minlength=256)[: NEITHER + 1]
    return tuple((100 * counted / counted.sum()).tolist())


def _score(prediction: Array, label: Array, classes: int) -> float:
    """mIoU in percent of one image, over the classes that its labels or the prediction have."""
    valid = label != IGNORED
    truth, found = label[valid].astype(np.int64), prediction[valid].astype(np.int64)
    hits = np.bincount(truth[truth == found], minlength=classes)
    counts = [hits, np.bincount(found, minlength=classes) - hits, np.bincount(truth, minlength=classes) - hits]
    return float(miou_percent(np.stack(counts, axis=-1)))


def _size(array: Array) -> tuple[int, int]:
    """Height and width at which an image or its classes are drawn."""
    height, width = array.shape[:2]
    factor = max(1.0, width / WIDTH)
    return max(1, round(height / factor)), round(width / factor)


def _thinned(classes: Array) -> Array:
    """The class of the pixel in the middle of each that is drawn."""
    sides = zip(classes.shape, _size(classes), strict=True)
    rows, columns = (((np.arange(drawn) + 0.5) * side / drawn).astype(int) for side, drawn in sides)
    thinned: Array = classes[np.ix_(rows, columns)]
    return thinned


def _averaged(image: Array) -> Array:
    """An image as large as its classes are drawn."""
    from PIL import Image  # who reads what is kept needs none

    height, width = _size(image)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def keep(path: Path, key: Mapping[str, Any], pictures: Pictures) -> None:
    """Write the pictures, renamed into place. What they are of is `key`, plain values."""
    arrays: dict[str, Any] = {"difficulty": np.frombuffer(pictures.difficulty, np.uint8)}
    images = []
    for number, one in enumerate(pictures.images):
        arrays |= {f"{number}/image": one.image, f"{number}/label": one.label}
        arrays |= {f"{number}/{whose}": found for whose, found in one.predictions.items()}
        images.append({"name": one.name, "why": one.why, "miou_percent": one.miou_percent, "agreement": one.agreement})
    about = {
        "names": pictures.names,
        "class_names": pictures.class_names,
        "palette": pictures.palette,
        "images": images,
        "notes": pictures.notes,
    }
    note = json.dumps({"format": FORMAT, "key": key, "about": about})
    writing = path.with_name(f".{path.name}.{os.getpid()}.writing")
    with writing.open("wb") as file:
        np.savez_compressed(file, note=np.array(note), **arrays)
    writing.replace(path)


def kept(path: Path, key: Mapping[str, Any]) -> Pictures | None:
    """The pictures that were kept of `key`; None where there are none, others, or they cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            note = json.loads(str(stored["note"]))
            if note["format"] != FORMAT or note["key"] != json.loads(json.dumps(key)):
                return None
            return _read(stored, note["about"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _read(stored: Mapping[str, Array], about: Mapping[str, Any]) -> Pictures:
    images = tuple(
        PredictedImage(
            name=one["name"],
            why=one["why"],
            image=stored[f"{number}/image"],
            label=stored[f"{number}/label"],
            predictions={whose: stored[f"{number}/{whose}"] for whose in one["miou_percent"]},
            miou_percent=one["miou_percent"],
            agreement=tuple(one["agreement"]),
        )
        for number, one in enumerate(about["images"])
    )
    return Pictures(
        names=about["names"],
        class_names=tuple(about["class_names"]),
        palette=tuple((red, green, blue) for red, green, blue in about["palette"]),
        images=images,
        difficulty=stored["difficulty"].tobytes(),
        notes=tuple(about["notes"]),
    )

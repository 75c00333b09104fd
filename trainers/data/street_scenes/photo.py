"""From a clean drawing to a photograph and its annotation: texture, light, blur, sensor noise, void pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from trainers.data import IGNORE, Array
from trainers.data.street_scenes.canvas import SUPERSAMPLING
from trainers.data.street_scenes.classes import BUILDING, CAR, PAVEMENT, ROAD, SKY, TREE

Field = NDArray[np.float32]

ROUGHNESS = np.full(256, 6, np.float32)
"""Amplitude of the texture by class, in grey levels."""
ROUGHNESS[[SKY, TREE]] = (2, 16)

HOURS = (0.5, 0.75, 0.9, 1.0, 1.0, 1.1)
"""Brightness of the image, from dusk to noon."""

THIN = np.full(256, 255, np.uint8)
"""255 for the classes whose outlines are never left void: little would remain of them."""
THIN[[SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, IGNORE]] = 0

BACK_AND_UP = np.ones((2, 2), np.uint8)
"""A pixel and its neighbours to the left and above."""


def photograph(rng: np.random.Generator, drawing: Array) -> tuple[Array, Array]:
    """What a camera and an annotator make of a drawing.

    Args:
        rng: decides light, noise and the gaps in the annotation.
        drawing: uint8 [SUPERSAMPLING * H, SUPERSAMPLING * W, 4], as `draw_street` returns it.

    Returns:
        Image uint8 RGB [H, W, 3] and label uint8 [H, W].
    """
    height, width = (extent // SUPERSAMPLING for extent in drawing.shape[:2])
    clean = np.ascontiguousarray(drawing[::SUPERSAMPLING, ::SUPERSAMPLING, 3])
    small = cv2.resize(drawing, (width, height), interpolation=cv2.INTER_AREA)
    blur, noise, haze = rng.uniform((0.3, 2, 0), (0.7, 7, 25)).tolist()
    lit = light(rng, height, width)
    label = annotated(rng, clean)
    image: Field = cv2.cvtColor(texture(rng, clean), cv2.COLOR_GRAY2RGB)
    image += cv2.cvtColor(small, cv2.COLOR_RGBA2RGB)
    image *= lit
    image = cv2.GaussianBlur(image, (3, 3), blur)
    image += grain(rng, (height, width, 3), noise)
    image += np.float32(haze)
    return np.clip(image, 0, 255, out=image).astype(np.uint8), label


def light(rng: np.random.Generator, height: int, width: int) -> Field:
    """This hour's light, [H, W, 3]: its brightness and cast, uneven over the image."""
    brightness = HOURS[int(rng.integers(len(HOURS)))] * rng.uniform(0.93, 1.07, 3)
    nodes = brightness * (1 + 0.12 * rng.standard_normal((4, 5, 1)))
    return np.asarray(cv2.resize(nodes.astype(np.float32), (width, height)))


def texture(rng: np.random.Generator, label: Array) -> Field:
    """Grain and stains [H, W], rougher on some classes than on others, by another measure in every image."""
    height, width = label.shape
    measure = ROUGHNESS * rng.uniform(0.5, 1.5, 256).astype(np.float32)
    field = stains(rng, height, width, 9) + stains(rng, height, width, 24)
    field += grain(rng, (height, width), 0.7)
    field *= cv2.LUT(label, measure)
    return field


def stains(rng: np.random.Generator, height: int, width: int, cells: int) -> Field:
    """Smooth noise [H, W] through `cells` rows of nodes of unit variance."""
    nodes = rng.standard_normal((cells, cells * 4 // 3), np.float32)
    return np.asarray(cv2.resize(nodes, (width, height), interpolation=cv2.INTER_LINEAR))


def grain(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Field:
    """Independent noise: the sum of two bytes, near enough to a normal and ten times as fast."""
    first, second = rng.integers(0, 256, (2, *shape), np.uint8)
    noise: Field = np.subtract(first, second, dtype=np.float32)
    noise *= np.float32(deviation / 104.5)
    return noise


def annotated(rng: np.random.Generator, label: Array) -> Array:
    """The label with void where annotators leave it: along some outlines and at some image borders."""
    height, width = label.shape
    outline = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, BACK_AND_UP)
    outline[cv2.dilate(cv2.LUT(label, THIN), BACK_AND_UP) > 0] = 0
    outline[stains(rng, height, width, 12) < 0.1] = 0
    label = np.where(outline, np.uint8(IGNORE), label)
    top, bottom, left, right = (rng.integers(1, 3, 4) * (rng.random(4) < 0.2)).tolist()
    framed = np.full_like(label, IGNORE)
    inside = slice(top, height - bottom), slice(left, width - right)
    framed[inside] = label[inside]
    return framed

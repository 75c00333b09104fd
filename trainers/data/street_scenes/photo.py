"""Image and label from a drawing: texture, illumination, blur, sensor noise, and void pixels in the label."""

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

BRIGHTNESS = (0.5, 0.75, 0.9, 1.0, 1.0, 1.1)
"""Factors of an image's brightness, from dusk to noon."""

THIN = np.full(256, 255, np.uint8)
"""255 for classes of thin objects, whose outlines are never void, because few pixels would remain; else 0."""
THIN[[SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, IGNORE]] = 0

BACK_AND_UP = np.ones((2, 2), np.uint8)
"""A pixel and its neighbours to the left and above."""


def photograph(rng: np.random.Generator, drawing: Array) -> tuple[Array, Array]:
    """Degrade a drawing to a photograph and its annotation.

    Args:
        rng: of illumination, noise and void pixels.
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
    """Factors [H, W, 3] of an illumination that varies over the image, with a colour cast."""
    brightness = BRIGHTNESS[int(rng.integers(len(BRIGHTNESS)))] * rng.uniform(0.93, 1.07, 3)
    nodes = brightness * (1 + 0.12 * rng.standard_normal((4, 5, 1)))
    return np.asarray(cv2.resize(nodes.astype(np.float32), (width, height)))


def texture(rng: np.random.Generator, label: Array) -> Field:
    """Noise [H, W] at three spatial frequencies in grey levels, whose amplitude depends on class and image."""
    height, width = label.shape
    amplitude = ROUGHNESS * rng.uniform(0.5, 1.5, 256).astype(np.float32)
    field = stains(rng, height, width, 9) + stains(rng, height, width, 24)
    field += grain(rng, (height, width), 0.7)
    field *= cv2.LUT(label, amplitude)
    return field


def stains(rng: np.random.Generator, height: int, width: int, cells: int) -> Field:
    """Smooth noise [H, W]: a grid of `cells` rows of unit variance, enlarged bilinearly."""
    nodes = rng.standard_normal((cells, cells * 4 // 3), np.float32)
    return np.asarray(cv2.resize(nodes, (width, height), interpolation=cv2.INTER_LINEAR))


def grain(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Field:
    """Independent noise of this standard deviation: the difference of two uniform bytes, far faster than a normal."""
    first, second = rng.integers(0, 256, (2, *shape), np.uint8)
    noise: Field = np.subtract(first, second, dtype=np.float32)
    noise *= np.float32(deviation / 104.5)
    return noise


def annotated(rng: np.random.Generator, label: Array) -> Array:
    """The label [H, W] with IGNORE where annotators leave void: along some outlines and at some image borders."""
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

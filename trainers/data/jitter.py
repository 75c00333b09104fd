"""Photometric jitter of a sample: brightness, contrast, saturation and hue, in this order, as torchvision defines them.

On uint8 with OpenCV, because torchvision's own goes through floats and takes several times as long.
"""

import cv2
import numpy as np

from trainers.config import JitterConfig
from trainers.data import Array

HUES = 180
"""Turn of the colour circle in OpenCV's 8-bit HSV."""


def jittered(image: Array, config: JitterConfig, rng: np.random.Generator) -> Array:
    """RGB uint8 [H, W, 3], each property changed where its strength is not 0; draws nothing for the others."""
    if config.brightness:
        image = _linear(image, _factor(config.brightness, rng), 0)
    if config.contrast:
        factor = _factor(config.contrast, rng)
        grey = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
        image = _linear(image, factor, (1 - factor) * grey)
    if config.saturation:
        factor = _factor(config.saturation, rng)
        grey_image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, factor, grey_image, 1 - factor, 0)
    if config.hue:
        image = _turned(image, rng.uniform(-config.hue, config.hue))
    return image


def _factor(strength: float, rng: np.random.Generator) -> float:
    return rng.uniform(1 - strength, 1 + strength)


def _linear(image: Array, factor: float, offset: float) -> Array:
    """factor * image + offset, rounded and kept within 0..255."""
    table = np.clip(np.rint(factor * np.arange(256) + offset), 0, 255).astype(np.uint8)
    changed: Array = cv2.LUT(image, table)
    return changed


def _turned(image: Array, turns: float) -> Array:
    """Every hue moved by a part of the colour circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hues = (np.arange(256) + round(turns * HUES)) % HUES
    hsv[..., 0] = cv2.LUT(hsv[..., 0], hues.astype(np.uint8))
    turned: Array = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return turned

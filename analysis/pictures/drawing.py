"""Images and maps of classes as files of a few kilobytes: PNG with a palette, and JPEG for what a camera has taken."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.pictures.predictions import BOTH, IGNORED, NEITHER, ONLY_BASELINE, ONLY_BEST

Array = NDArray[Any]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
RIGHT: dict[int, tuple[Colour, str]] = {
    BOTH: ((222, 226, 230), "both right"),
    ONLY_BEST: ((0, 114, 178), "only {best} right"),
    ONLY_BASELINE: ((213, 94, 0), "only {baseline} right"),
    NEITHER: ((87, 96, 106), "neither right"),
}
"""Who is right at a pixel: colour, and what it is called. Blue and vermilion are those of Okabe and Ito."""


def class_map(classes: Array, palette: Sequence[Colour]) -> bytes:
    """A PNG of classes [H, W] in the colours of their numbers; white where they are IGNORED."""
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette
    drawn = Image.fromarray(classes)
    drawn.putpalette(colours.tobytes())
    return _file(drawn, "PNG", optimize=True)


def right_map(who: Array) -> bytes:
    """A PNG of who is right at each pixel, see `who_is_right`."""
    return class_map(who, [RIGHT[code][0] if code in RIGHT else WHITE for code in range(IGNORED)])


def photograph(image: Array) -> bytes:
    """A JPEG of an RGB image [H, W, 3]."""
    return _file(Image.fromarray(image), "JPEG", quality=85, optimize=True)


def with_palette(png: bytes) -> bytes:
    """A PNG of many colours as one of few, a third as large."""
    with Image.open(BytesIO(png)) as whole:
        return _file(whole.convert("RGB").quantize(128, dither=Image.Dither.NONE), "PNG", optimize=True)


def _file(drawn: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    drawn.save(buffer, kind, **options)
    return buffer.getvalue()

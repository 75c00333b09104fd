"""Reads label files of one's own: PNG, TIFF, BMP and GIF, of one channel, with a palette, or in colours.

OpenCV decodes the PNGs whose values it leaves alone; Pillow the rest, because it gives the indices of a palette.
Colours become packed 24-bit codes, so that a whole image is looked up in one table at once.
"""

import io
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data import Array
from trainers.data.decoding import decoded, first_place, not_whole, png_kind, read_bytes
from trainers.data.files import UNKNOWN, Stored, as_ranges
from trainers.data.folders.meaning import MAX_VALUE, Meaning
from trainers.data.folders.sources import Colour

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".jpg", ".jpeg")
"""Of files that are taken for labels; a JPEG is, so that it is refused by its name."""
JPEG = b"\xff\xd8\xff"
PLAIN = ("8-bit grey", "16-bit grey", "8-bit RGB", "8-bit RGB with alpha")
"""PNGs of which OpenCV gives the values as they are stored."""
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises of files that are damaged, or no images."""
BITS_PER_SAMPLE = 258
"""Tag of a TIFF."""
KINDS = "save labels as PNG: 8- or 16-bit grey, a palette, or 8-bit RGB"


def read_label(path: Path) -> Stored:
    """The values or colours of a label file.

    Raises:
        ValueError: it is damaged, or of a kind that does not keep values; names it.
    """
    data = read_bytes(path)
    if data[:3].tobytes() == JPEG:
        raise ValueError(
            f"a label must be stored without loss, but {path} is a JPEG, which changes values; save labels as PNG, a "
            "mask of two values after a threshold"
        )
    kind = png_kind(data)
    if kind in PLAIN:
        pixels = decoded(path, data, cv2.IMREAD_UNCHANGED)
        return Stored(pixels) if pixels.ndim == 2 else Stored(packed(pixels[..., :3]), coloured=True)
    image = _opened(path, data)
    return _values(image, _bits(image, data), path)


def packed(pixels: Array) -> NDArray[np.uint32]:
    """BGR uint8 [H, W, 3] to codes uint32 [H, W]: red, green and blue from the highest byte down."""
    four = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2BGRA)
    four[..., 3] = 0
    codes: NDArray[np.uint32] = four.view("<u4")[..., 0]
    return codes


def unpacked(code: int) -> Colour:
    """RGB of a code."""
    return code >> 16, code >> 8 & 255, code & 255


def code_of(colour: Colour) -> int:
    """The code of an RGB colour."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _opened(path: Path, data: Array) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data.tobytes()))
        image.load()
    except UNREADABLE:
        raise ValueError(not_whole(path, data)) from None
    return image


def _bits(image: Image.Image, data: Array) -> int:
    """Bits of a channel as they are stored."""
    if png_kind(data):
        return int(data[24])
    samples = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return int(samples[0])


def _values(image: Image.Image, bits: int, path: Path) -> Stored:
    pixels: NDArray[Any] = np.asarray(image)
    mode = image.mode
    if mode in ("1", "I;16", "I;16B", "I"):
        return Stored(pixels.astype(np.uint8) if mode == "1" else pixels)
    if mode in ("L", "LA") and bits <= 8:
        # Pillow stretches the values of fewer bits to 0..255
        return Stored((pixels if mode == "L" else pixels[..., 0]) // (255 // (2**bits - 1)))
    if mode == "P":
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return Stored(pixels, palette=colours)
    if mode in ("RGB", "RGBA") and bits == 8:
        return Stored(packed(pixels[..., 2::-1]), coloured=True)
    if mode == "F" and np.array_equal(pixels, whole := np.nan_to_num(pixels, nan=-1).astype(np.int64)):
        return Stored(whole)
    raise ValueError(f"a label must hold whole numbers or 8-bit RGB, but {path} is {bits}-bit {mode}; {KINDS}")


class LabelClasses:
    """Turns what label files hold into classes.

    Args:
        meaning: of values and colours.
    """

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._values = np.full(MAX_VALUE + 1, UNKNOWN, np.uint8)
        self._values[list(meaning.values)] = list(meaning.values.values())

    def __call__(self, stored: Stored, path: Path) -> Array:
        """Classes or IGNORE, uint8 [H, W].

        Raises:
            ValueError: a value or colour stands for nothing; says which, and where in the file.
        """
        if stored.coloured and not self._meaning.colours:
            stored = _grey(stored, path)
        label = self._coloured(stored.pixels) if stored.coloured else self._valued(stored.pixels)
        unknown = label == UNKNOWN
        if unknown.any():
            raise ValueError(self._unknown(stored, unknown, path))
        if stored.palette is not None and self._meaning.colours:
            self._refuse_other_palette(stored.pixels, stored.palette, path)
        return label

    def _coloured(self, codes: NDArray[Any]) -> Array:
        found: Array = _colour_table(tuple(self._meaning.colours.items())).take(codes)
        return found

    def _valued(self, values: NDArray[Any]) -> Array:
        if values.dtype == np.uint8:
            found: Array = cv2.LUT(np.ascontiguousarray(values), self._values[:256])
        elif values.dtype == np.uint16:
            found = self._values.take(values)
        else:
            found = np.full(values.shape, UNKNOWN, np.uint8)
            inside = (values >= 0) & (values <= MAX_VALUE)
            found[inside] = self._values[values[inside]]
        return found

    def _unknown(self, stored: Stored, unknown: NDArray[np.bool_], path: Path) -> str:
        row, column = first_place(unknown)
        there, others = int(stored.pixels[row, column]), np.unique(stored.pixels[unknown])
        more = f" and {len(others) - 1} more that stand for nothing" if len(others) > 1 else ""
        where = f"at row {row}, column {column}{more}; {100 * unknown.mean():.2g} % of its pixels"
        if stored.coloured:
            return (
                f"labels must hold the {len(self._meaning.colours)} colours of the colour table, but {path} holds RGB "
                f"{unpacked(there)} {where}; add the colour to data.palette, or ignore it: ignore: "
                f"[{list(unpacked(there))}]"
            )
        known = as_ranges(np.array(sorted(self._meaning.values)))
        return (
            f"labels must hold {known}, but {path} holds {there} {where}; say what it is: map: "
            f"{self._example(there, others)}, or ignore it: ignore: [{there}]"
        )

    def _example(self, value: int, others: NDArray[Any]) -> str:
        """A `map` for the value; of a mask of two classes the whole."""
        first, second = self._meaning.names[:2]
        if len(self._meaning.names) == 2 and value == 255 and len(others) == 1:
            return f"{{0: {first}, 255: {second}}}"
        return f"{{{value}: CLASS}}"

    def _refuse_other_palette(self, indices: NDArray[Any], palette: Array, path: Path) -> None:
        """A palette's indices are what is read; its colours must not say another class."""
        for index in np.flatnonzero(np.bincount(indices.ravel(), minlength=256)[: len(palette)]).tolist():
            red, green, blue = palette[index].tolist()
            of_colour, of_index = self._meaning.colours.get((red, green, blue)), self._meaning.values[index]
            if of_colour not in (None, of_index):
                raise ValueError(
                    f"a palette's colours must be those of data.palette in the same order, but {path} has index "
                    f"{index} in RGB {(red, green, blue)}, the colour of another class; save labels as RGB to read "
                    "colours, or leave data.palette out to read indices"
                )


@cache
def _colour_table(colours: tuple[tuple[Colour, int], ...]) -> Array:
    """Classes by code, 16 MiB: one table for all splits and datasets that have these colours."""
    table = np.full(2**24, UNKNOWN, np.uint8)
    table[[code_of(colour) for colour, _ in colours]] = [place for _, place in colours]
    return table


def _grey(stored: Stored, path: Path) -> Stored:
    """The values of a label in colours without a colour table: three equal channels are one.

    Raises:
        ValueError: they are not equal.
    """
    values = (stored.pixels & 255).astype(np.uint8)
    odd = stored.pixels != values * np.uint32(0x010101)
    if odd.any():
        row, column = first_place(odd)
        colour = unpacked(int(stored.pixels[row, column]))
        raise ValueError(
            f"labels in colours need a colour table, but data.palette is not set and {path} holds RGB {colour} at row "
            f"{row}, column {column}; set data.palette to the colours of the classes, or to class_dict.csv"
        )
    return Stored(values)

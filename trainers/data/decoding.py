"""Decodes image files: images to RGB with OpenCV, and what a file's header says of its pixels.

A file that cannot be read or is not whole is named together with what to do about it, whenever it is met.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data import Array
from trainers.resources.faults import MachineFaultError

PNG = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
"""What a PNG's header calls by these numbers."""
ORIENTATION = 0x0112
"""EXIF's tag."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""What TIFFs, and those of more than 4 GiB, begin with."""


def read_image(path: Path, *, turned: bool = False) -> Array:
    """An image uint8 RGB [H, W, 3]: one channel is repeated, alpha dropped, 16 bits scaled to 8.

    Args:
        path: its file.
        turned: whether it is turned as its header says (EXIF's orientation). If not it is as its pixels are stored, but
            for a TIFF, whose own orientation always counts.

    Raises:
        ValueError: where it cannot be read or decoded to its end, or has floating-point values; names it.
    """
    data = read_bytes(path)
    if data[:4].tobytes() in TIFF:
        return _read_tiff(path, data)
    return decoded(path, data, cv2.IMREAD_COLOR_RGB | (0 if turned else cv2.IMREAD_IGNORE_ORIENTATION))


def _read_tiff(path: Path, data: Array) -> Array:
    """RGB of 8 bits; OpenCV cannot decode some floating-point values in colour, and cuts the others to 0..255."""
    depth = decoded(path, data, cv2.IMREAD_UNCHANGED).dtype
    if depth == np.uint8:
        return decoded(path, data, cv2.IMREAD_COLOR_RGB)
    if depth != np.uint16:
        raise ValueError(
            f"an image must have 8 or 16 bits a channel, but {path} holds {depth}; scale it to 0..255 and save it "
            "with 8 bits"
        )
    # OpenCV 5.0 mixes the channels of 16 bits up where it is asked for RGB
    wide = decoded(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    scaled: Array = cv2.convertScaleAbs(np.ascontiguousarray(wide[..., ::-1]), alpha=255 / 65535)
    return scaled


def resized(image: Array, label: Array, size: tuple[int, int] | None) -> tuple[Array, Array]:
    """Image and label at a height and width; as they are for None."""
    if size is None:
        return image, label
    height, width = size
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
        cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST),
    )


def orientation(path: Path) -> int:
    """How an image's header says that it is to be turned (EXIF, 1 to 8), 1 for not at all or where it cannot be read.

    From 5 on height and width are exchanged.
    """
    try:
        with Image.open(path) as image:
            # of a PNG without it Pillow would look for it behind the pixels, and decode these
            if image.format == "PNG" and "exif" not in image.info:
                return 1
            return int(image.getexif().get(ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError):
        return 1


def png_kind(data: Array) -> str | None:
    """`8-bit grey`: how a PNG's pixels are stored, from its bytes; None for another format."""
    return f"{data[24]}-bit {COLOUR_TYPES[int(data[25])]}" if data[:8].tobytes() == PNG else None


class UnreadableError(MachineFaultError):
    """A file of a dataset cannot be read, or is no whole image."""


def read_bytes(path: Path) -> Array:
    """A file's bytes.

    Raises:
        ValueError: it cannot be read; names it.
    """
    try:
        return np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UnreadableError(f"{path} must be a readable file, but is not: {error.strerror}; restore it") from None


def decoded(path: Path, data: Array, mode: int) -> Array:
    """The pixels of a file from its bytes, as OpenCV decodes them.

    Raises:
        ValueError: it is no image, or not a whole one; names it.
    """
    try:
        pixels: Array | None = cv2.imdecode(data, mode) if len(data) else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UnreadableError(not_whole(path, data))
    return pixels


def not_whole(path: Path, data: Array) -> str:
    """What is wrong with a file that cannot be decoded."""
    return f"{path} must be a whole image, but its {len(data)} bytes cannot be decoded; restore it from where it came"


def first_place(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the first pixel that a mask [H, W] marks."""
    row, column = np.unravel_index(np.argmax(mask), mask.shape)
    return int(row), int(column)

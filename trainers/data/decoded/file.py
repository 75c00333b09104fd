"""The file of one decoded image: a header, the image's pixels, the label's, as they are in memory.

Little-endian: 8 bytes `kdimage1`, height, width and the CRC-32 of all pixels as uint32, padding to 64 bytes; then uint8
RGB [H, W, 3] and uint8 [H, W].
"""

import mmap
import os
import struct
import zlib
from pathlib import Path
from uuid import uuid4

import numpy as np

from trainers.data import Array

HEADER = struct.Struct("<8sIII44x")
MAGIC = b"kdimage1"
WRITING = ".writing"
"""How the name ends of a file that is not written to its end."""
PIXEL_BYTES = 4
"""Of image and label together."""


class DamagedImageError(ValueError):
    """A file is not what was written; the message names it."""


def file_bytes(label: Array) -> int:
    """Size of the file of an image and its label."""
    return HEADER.size + PIXEL_BYTES * label.size


def write(path: Path, image: Array, label: Array) -> None:
    """Write an image and its label; all or nothing, whatever other processes write there.

    Raises:
        OSError: the disk is full, or the folder takes no files.
    """
    image, label = np.ascontiguousarray(image), np.ascontiguousarray(label)
    header = HEADER.pack(MAGIC, *label.shape, zlib.crc32(label.data, zlib.crc32(image.data)))
    writing = path.with_name(f"{path.name}.{uuid4().hex}{WRITING}")
    try:
        with writing.open("xb") as file:
            for part in (header, image.data, label.data):
                file.write(part)
        writing.replace(path)
    except BaseException:
        writing.unlink(missing_ok=True)
        raise


def read(path: Path, *, verify: bool) -> tuple[Array, Array]:
    """Image uint8 RGB [H, W, 3] and label uint8 [H, W], both read-only views of the mapped file.

    Args:
        path: of the file.
        verify: hold the pixels against their checksum, which reads them all.

    Raises:
        DamagedImageError: it is not what was written.
        OSError: it is not there or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size < HEADER.size:
            raise DamagedImageError(f"{path} must hold a decoded image, but has {size} bytes")
        content = np.frombuffer(mmap.mmap(descriptor, size, prot=mmap.PROT_READ), np.uint8)
    finally:
        os.close(descriptor)
    magic, height, width, checksum = HEADER.unpack(content[: HEADER.size].tobytes())
    if magic != MAGIC or size != HEADER.size + PIXEL_BYTES * height * width:
        raise DamagedImageError(f"{path} must hold a decoded image, but its header or its size is another")
    pixels = content[HEADER.size :]
    if verify and zlib.crc32(pixels.data) != checksum:
        raise DamagedImageError(f"{path} must be as it was written, but its checksum is another")
    image, label = np.split(pixels, [3 * height * width])
    return image.reshape(height, width, 3), label.reshape(height, width)

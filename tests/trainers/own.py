"""Folders of a few tiny images and labels of one's own, in many kinds of files."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.config import parse
from trainers.data import Split, folder

SIZE = (16, 24)
NAMES = ("road", "sky", "car", "tree", "person")
COLOURS = ((128, 64, 128), (70, 130, 180), (0, 0, 142), (107, 142, 35), (220, 20, 60))


def label(seed: int, *known: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Values [H, W] in which each of these occurs; of five classes by default."""
    values = np.array(known or range(len(NAMES)))
    rng = np.random.default_rng(seed)
    pixels = np.concatenate([values, rng.choice(values, size[0] * size[1] - len(values))])
    return rng.permutation(pixels).reshape(size).astype(np.uint8)


def coloured(values: NDArray[np.uint8], colours: Iterable[tuple[int, int, int]] = COLOURS) -> NDArray[np.uint8]:
    """The same in RGB."""
    return np.array(list(colours), np.uint8)[values]


def picture(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_palette(path: Path, indices: NDArray[np.uint8], colours: Iterable[tuple[int, int, int]] = COLOURS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices)
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)
    return path


def save_few_bits(path: Path, values: NDArray[np.uint8], bits: int) -> Path:
    """A grey PNG of so many bits a pixel."""
    rows = b"".join(
        b"\0" + int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(len(row) * bits // 8, "big")
        for row in values
    )
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def config(root: Path, /, **settings: Any) -> folder.Config:
    """Of a folder with images/SPLIT and labels/SPLIT, unless said otherwise."""
    usual = {"images": "images/{split}", "labels": "labels/{split}", "classes": list(NAMES)}
    return parse(folder.Config, {"root": str(root), **usual, **settings})


def data(root: Path, part: Split = "train", /, **settings: Any) -> folder.Dataset:
    return folder.Dataset(config(root, **settings), part)


def write_grey(root: Path, counts: Mapping[str, int] | None = None) -> Path:
    """images/SPLIT/NAME.jpg and labels/SPLIT/NAME.png with the values 0 to 4, four to train on and two to validate."""
    for split, count in (counts or {"train": 4, "val": 2}).items():
        for number in range(count):
            save(root / f"images/{split}/{split}{number}.jpg", picture(number + 100 * len(split)))
            save(root / f"labels/{split}/{split}{number}.png", label(number))
    return root


def write_listed(root: Path, separator: str = " ") -> Path:
    """photos/ and RGB masks/, with lists as a program on Windows writes them."""
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            save(root / f"photos/{number}.jpg", picture(number))
            save(root / f"masks/{number}.png", coloured(label(number)))
        lines = [f"photos\\{number}.jpg{separator}masks\\{number}.png" for number in numbers]
        text = "\r\n\r\n".join(lines) + "\r\n"
        (root / f"{split}.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    return root

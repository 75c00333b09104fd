"""A contact sheet: images beside themselves with their labels laid over, to be looked at by a person."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trainers.data import IGNORE, Array, SegmentationDataset

WIDTH, PAIRS = 320, 3
"""Pixels of an image's width on the sheet, and how many images with their overlays stand in a row."""
MARGIN, LINE = 8, 18
"""Pixels between the parts, and of a line of text."""
OPACITY = 0.6
STRIPES = 6
"""Pixels of a stripe over what is ignored."""


class Panel(NamedTuple):
    """An image of the sheet.

    Attributes:
        title: what stands above it.
        image: uint8 RGB [H, W, 3].
        label: uint8 [H, W].
    """

    title: str
    image: Array
    label: Array


def chosen(counts: Sequence[NDArray[np.int64]], limit: int) -> list[int]:
    """Images that together hold as many classes as so few can, then others evenly spread.

    Args:
        counts: pixels by value of each image's label.
        limit: images at most.
    """
    seen, picked = np.zeros(IGNORE, bool), list[int]()
    present = np.array([count[:IGNORE] > 0 for count in counts]).reshape(-1, IGNORE)
    while len(picked) < min(limit, len(counts)) and (present & ~seen).any():
        picked.append(int((present & ~seen).sum(1).argmax()))
        seen |= present[picked[-1]]
    others = [index for index in range(len(counts)) if index not in picked]
    free = min(limit - len(picked), len(others))
    spread = {others[round(place)] for place in np.linspace(0, len(others) - 1, free)} if free > 0 else set()
    return sorted({*picked, *spread})


def draw(data: SegmentationDataset, panels: Iterable[Panel]) -> Array:
    """A sheet of images of a dataset, RGB [H, W, 3], with the colours of its classes below."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(data.palette)] = data.palette
    cells = [_cell(panel, colours) for panel in panels]
    rows = [_side_by_side(cells[start : start + PAIRS]) for start in range(0, len(cells), PAIRS)]
    width = max(row.shape[1] for row in rows)
    legend = _legend(data, width)
    return np.concatenate([*(_padded(row, row.shape[0], width) for row in rows), legend])


def refuse_other_files(path: Path) -> None:
    """Hold a place for a sheet against what can be written there, before a dataset is read for it.

    Raises:
        ValueError: it is to be none of a PNG, or in no folder.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"--sheet must be a PNG file to write, but got {path}; let it end in .png")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--sheet must lie in a folder that is there, but got {path}; make the folder first")


def write(path: Path, sheet: Array) -> None:
    """Write a sheet as PNG.

    Raises:
        ValueError: the file cannot be written.
    """
    try:
        Image.fromarray(sheet).save(path)
    except OSError as error:
        raise ValueError(f"--sheet must be writable, but {path} is not: {error.strerror}; choose another") from None


def _cell(panel: Panel, colours: Array) -> Array:
    """Title, image and overlay."""
    height = max(1, round(panel.image.shape[0] * WIDTH / panel.image.shape[1]))
    image = cv2.resize(panel.image, (WIDTH, height), interpolation=cv2.INTER_AREA)
    label = cv2.resize(panel.label, (WIDTH, height), interpolation=cv2.INTER_NEAREST)
    overlay = (OPACITY * colours[label] + (1 - OPACITY) * image).astype(np.uint8)
    rows, columns = np.indices(label.shape)
    striped = (rows + columns) // STRIPES % 2 == 0
    overlay[label == IGNORE] = np.where(striped[..., None], image, 255)[label == IGNORE]
    return np.concatenate([_text(panel.title, 2 * WIDTH), np.concatenate([image, overlay], axis=1)])


def _text(text: str, width: int) -> Array:
    line = Image.new("RGB", (width, LINE), "white")
    ImageDraw.Draw(line).text((2, 2), text, fill="black", font=ImageFont.load_default(LINE - 6))
    return np.asarray(line)


def _side_by_side(cells: Sequence[Array]) -> Array:
    height = max(cell.shape[0] for cell in cells)
    return np.concatenate([_padded(cell, height + MARGIN, cell.shape[1] + MARGIN) for cell in cells], axis=1)


def _padded(cell: Array, height: int, width: int) -> Array:
    white = np.full((height, width, 3), 255, np.uint8)
    white[: cell.shape[0], : cell.shape[1]] = cell[:, :width]
    return white


def _legend(data: SegmentationDataset, width: int) -> Array:
    """A box in its colour and a name for each class."""
    step = 2 * WIDTH // PAIRS
    columns = max(1, width // step)
    entries = [*zip(data.class_names, data.palette, strict=True), ("ignored: striped", (255, 255, 255))]
    sheet = Image.new("RGB", (width, LINE * -(-len(entries) // columns)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (name, colour) in enumerate(entries):
        left, top = place % columns * step, place // columns * LINE
        pen.rectangle((left + 2, top + 3, left + LINE, top + LINE - 3), fill=colour, outline="black")
        pen.text((left + LINE + 6, top + 2), name, fill="black", font=ImageFont.load_default(LINE - 6))
    return np.asarray(sheet)

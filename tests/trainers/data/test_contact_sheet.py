"""Sheets of images with their labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainers.own import COLOURS, SIZE, data, write_grey
from trainers.data import IGNORE
from trainers.data.contact_sheet import Panel, chosen, draw, refuse_other_files, write


def counts(*classes: set[int]) -> list[np.ndarray]:
    return [np.isin(np.arange(256), sorted(found)).astype(np.int64) for found in classes]


def test_every_class_is_met_before_others_are_added() -> None:
    assert chosen(counts({0}, {0}, {0, 1}, {0}, {2}, {0}), 2) == [2, 4]
    assert chosen(counts({0}, {0}, {0, 1}, {0}, {2}, {0}), 4) == [0, 2, 4, 5]
    assert chosen(counts({IGNORE}, {IGNORE}), 9) == [0, 1]
    assert chosen([], 9) == []


def test_a_sheet_shows_image_overlay_and_legend(tmp_path: Path) -> None:
    found = data(write_grey(tmp_path), palette=[list(colour) for colour in COLOURS])
    black = np.zeros((*SIZE, 3), np.uint8)
    label = np.full(SIZE, 4, np.uint8)
    label[:, 12:] = IGNORE
    sheet = draw(found, [Panel("train: one", black, label)])
    pixels = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    person = tuple(int(0.6 * channel) for channel in COLOURS[4])
    assert {person, (0, 0, 0), (255, 255, 255), *COLOURS} <= pixels
    write(tmp_path / "sheet.png", sheet)
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape == sheet.shape
    two_rows = draw(found, [Panel(f"{number}", black, label) for number in range(4)])
    assert two_rows.shape[0] > sheet.shape[0] and two_rows.shape[1] > sheet.shape[1]


def test_a_place_that_takes_no_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a PNG file to write, but got .*sheet\.jpg; let it end in \.png"):
        refuse_other_files(tmp_path / "sheet.jpg")
    with pytest.raises(ValueError, match=r"must lie in a folder that is there, but got .*none/sheet\.png"):
        refuse_other_files(tmp_path / "none/sheet.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=r"must be writable, but .*folder\.png is not: Is a directory; choose another"):
        write(tmp_path / "folder.png", np.zeros((4, 4, 3), np.uint8))

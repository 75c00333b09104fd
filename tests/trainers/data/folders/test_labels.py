"""Label files of every kind, and what of them is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.trainers.own import COLOURS, NAMES, coloured, label, save, save_few_bits, save_palette
from trainers.data import IGNORE, Array
from trainers.data.folders.labels import LabelClasses, code_of, packed, read_label, unpacked
from trainers.data.folders.meaning import read_meaning

VALUES = label(0)
TABLE: dict[str, Any] = {"palette": COLOURS}


def classes(path: Path, **settings: Any) -> Array:
    usual: dict[str, Any] = {"classes": NAMES, "palette": None, "mapped": {}, "ignore": (255,)}
    return LabelClasses(read_meaning(Path(), **{**usual, **settings}))(read_label(path), path)


def with_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """With an alpha channel that differs from pixel to pixel."""
    return np.dstack([pixels, np.indices(pixels.shape[:2]).sum(0)]).astype(np.uint8)


KINDS: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "grey.png": (lambda path: save(path, VALUES), {}),
    "grey16.png": (lambda path: save(path, VALUES.astype(np.uint16)), {}),
    "grey-alpha.png": (lambda path: save(path, with_alpha(VALUES)), {}),
    "grey4.png": (lambda path: save_few_bits(path, VALUES, 4), {}),
    "palette.png": (lambda path: save_palette(path, VALUES), {}),
    "palette-and-table.png": (lambda path: save_palette(path, VALUES), TABLE),
    "palette-of-others.png": (lambda path: save_palette(path, VALUES, [(9, 9, 9)] * 5), {}),
    "rgb.png": (lambda path: save(path, coloured(VALUES)), TABLE),
    "rgba.png": (lambda path: save(path, with_alpha(coloured(VALUES))), TABLE),
    "equal-channels.png": (lambda path: save(path, np.dstack([VALUES] * 3)), {}),
    "grey.tif": (lambda path: save(path, VALUES, compression="tiff_lzw"), {}),
    "grey16.tiff": (lambda path: save(path, VALUES.astype(np.uint16)), {}),
    "integers.tif": (lambda path: save(path, VALUES.astype(np.int32)), {}),
    "floats.tif": (lambda path: save(path, VALUES.astype(np.float32)), {}),
    "palette.tif": (lambda path: save_palette(path, VALUES), {}),
    "rgb.tif": (lambda path: save(path, coloured(VALUES)), TABLE),
    "grey.bmp": (lambda path: save(path, VALUES), {}),
    "rgb.bmp": (lambda path: save(path, coloured(VALUES)), TABLE),
    "palette.gif": (lambda path: save_palette(path, VALUES), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_of_every_kind_gives_its_classes(kind: str, tmp_path: Path) -> None:
    write, settings = KINDS[kind]
    write(tmp_path / kind)
    found = classes(tmp_path / kind, **settings)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, VALUES)


@pytest.mark.parametrize(("bits", "values"), [(1, (0, 1)), (2, (0, 1, 2, 3)), (4, (0, 3, 4))])
def test_few_bits_are_read_as_they_are(bits: int, values: tuple[int, ...], tmp_path: Path) -> None:
    stored = label(1, *values)
    np.testing.assert_array_equal(classes(save_few_bits(tmp_path / "a.png", stored, bits)), stored)


def test_masks_of_one_object(tmp_path: Path) -> None:
    stored = label(0, 0, 1)
    two: dict[str, Any] = {"classes": ("background", "object"), "ignore": ()}
    one_bit = save(tmp_path / "bit.png", stored.astype(bool))
    np.testing.assert_array_equal(classes(one_bit, **two), stored)
    white = save(tmp_path / "white.png", stored * 255)
    np.testing.assert_array_equal(classes(white, **two, mapped={"0": "background", "255": "object"}), stored)
    with pytest.raises(ValueError, match=r"holds 255 at row .* map: \{0: background, 255: object\}"):
        classes(white, **two)


def test_values_are_merged_and_several_ignored(tmp_path: Path) -> None:
    stored = np.array([[0, 7, 8], [23, 254, 255]], np.uint8)
    mapped = {"7": "road", "8": "road", "23": "sky"}
    found = classes(save(tmp_path / "a.png", stored), classes=NAMES[:2], mapped=mapped, ignore=(0, 254, 255))
    np.testing.assert_array_equal(found, [[IGNORE, 0, 0], [1, IGNORE, IGNORE]])
    large = np.array([[1000, 7000]], np.uint16)
    found = classes(save(tmp_path / "b.png", large), classes=NAMES[:2], mapped={"1000": "sky", "7000": "road"})
    np.testing.assert_array_equal(found, [[1, 0]])


def spoilt(pixels: NDArray[Any], value: Any) -> NDArray[Any]:
    changed = pixels.copy()
    changed[3, 4] = value
    return changed


REFUSED: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "value.png": (
        lambda path: save(path, spoilt(VALUES, 77)),
        {},
        r"labels must hold 0\.\.4, 255, but .*value\.png holds 77 at row 3, column 4; 0\.26 % of its pixels; say "
        r"what it is: map: \{77: CLASS\}, or ignore it: ignore: \[77\]",
    ),
    "several.png": (
        lambda path: save(path, spoilt(spoilt(VALUES, 77)[::-1], 99)[::-1]),
        {},
        "holds 77 at row 3, column 4 and 1 more that stand for nothing",
    ),
    "value16.png": (lambda path: save(path, spoilt(VALUES.astype(np.uint16), 3000)), {}, "holds 3000 at row 3, col"),
    "negative.tif": (lambda path: save(path, spoilt(VALUES.astype(np.int32), -1)), {}, "holds -1 at row 3, column 4"),
    "huge.tif": (lambda path: save(path, spoilt(VALUES.astype(np.int32), 70000)), {}, "holds 70000 at row 3, column 4"),
    "halves.tif": (lambda path: save(path, VALUES.astype(np.float32) / 2), {}, "must hold whole numbers or 8-bit RGB"),
    "nan.tif": (lambda path: save(path, spoilt(VALUES.astype(np.float32), np.nan)), {}, "must hold whole numbers"),
    "colour.png": (
        lambda path: save(path, spoilt(coloured(VALUES), (1, 2, 3))),
        TABLE,
        r"the 5 colours of the colour table, but .* holds RGB \(1, 2, 3\) at row 3, column 4; "
        r".* ignore: \[\[1, 2, 3\]\]",
    ),
    "no-table.png": (
        lambda path: save(path, coloured(VALUES)),
        {},
        r"need a colour table, but data\.palette is not set and .* holds RGB \(\d+, \d+, \d+\) at row 0, column 0",
    ),
    "index.png": (
        lambda path: save_palette(path, VALUES, COLOURS[::-1]),
        TABLE,
        r"has index 0 in RGB \(220, 20, 60\), the colour of another class; save labels as RGB .* or leave",
    ),
    "photo.jpg": (lambda path: save(path, VALUES), {}, r"stored without loss, but .*photo\.jpg is a JPEG"),
    "jpeg-inside.png": (lambda path: save(path, VALUES, format="JPEG"), {}, "is a JPEG, which changes values"),
    "cmyk.tif": (
        lambda path: Image.fromarray(coloured(VALUES)).convert("CMYK").save(path),
        TABLE,
        r"must hold whole numbers or 8-bit RGB, but .* is 8-bit CMYK; save labels as PNG",
    ),
    "text.png": (lambda path: path.write_text("<html>404</html>"), {}, "must be a whole image, but its 16 bytes"),
    "empty.png": (lambda path: path.write_bytes(b""), {}, "must be a whole image, but its 0 bytes"),
    "folder.png": (lambda path: path.mkdir(), {}, "must be a readable file, but is not: Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_where_and_what_to_do(kind: str, tmp_path: Path) -> None:
    write, settings, message = REFUSED[kind]
    write(tmp_path / kind)
    with pytest.raises(ValueError, match=message) as caught:
        classes(tmp_path / kind, **settings)
    assert str(tmp_path / kind) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_ends_too_soon_is_refused(kind: str, tmp_path: Path) -> None:
    write, settings = KINDS[kind]
    path = tmp_path / kind
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="must be a whole image"):
        classes(path, **settings)


def test_codes_are_red_green_blue() -> None:
    assert unpacked(code_of((1, 2, 3))) == (1, 2, 3)
    assert packed(np.array([[[3, 2, 1]]], np.uint8)).tolist() == [[0x010203]]


def test_a_label_in_colours_is_what_a_loop_over_its_pixels_gives(tmp_path: Path) -> None:
    pixels = coloured(label(3))
    naive = [[COLOURS.index((red, green, blue)) for red, green, blue in row] for row in pixels.tolist()]
    np.testing.assert_array_equal(classes(save(tmp_path / "a.png", pixels), **TABLE), naive)

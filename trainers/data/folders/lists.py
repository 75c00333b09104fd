"""Reads lists of images: a line is an image and its label, or an image alone, by its path or its id.

Lists come from many systems: line ends of Windows, a byte order mark, backslashes and blank lines mean nothing here.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from trainers.data.files import SplitMissingError
from trainers.data.folders.sources import read_text


class Line(NamedTuple):
    """A line of a list.

    Attributes:
        where: `line 3 of train.txt`, for messages.
        text: the whole of it.
        words: its parts: of an image and its label two.
    """

    where: str
    text: str
    words: tuple[str, ...]


def read_lines(path: Path) -> list[Line]:
    """The lines of a list that are not blank.

    Raises:
        SplitMissingError: there is no such list.
        ValueError: it is no text, names no image, or a line has more than two parts or is a path of Windows' drives.
    """
    if not path.is_file():
        raise SplitMissingError(
            f"a split's list must be a file, but there is no {path}; data.split.lists is relative to data.root"
        )
    texts = [text.strip().replace("\\", "/") for text in read_text(path).splitlines()]
    lines = [_line(f"line {number} of {path}", text) for number, text in enumerate(texts, 1) if text]
    if not lines:
        raise ValueError(f"{path} must list at least one image, but is empty; write an image and its label a line")
    return lines


def _line(where: str, text: str) -> Line:
    separator = next((mark for mark in "\t,;" if mark in text), None)
    words = tuple(word.strip() for word in re.split(r"\s+" if separator is None else f"{separator}+", text))
    words = tuple(filter(None, words))
    if drive := next((word for word in words if PureWindowsPath(word).drive), None):
        raise ValueError(
            f"{where} must hold paths below data.root, but got {drive!r}, of a drive of Windows; make it relative to "
            "data.root"
        )
    return Line(where, text, words)


class ImageIndex:
    """Finds the image that a line of a list names alone.

    Args:
        root: the folder that paths are relative to.
        images: the files by id.
    """

    def __init__(self, root: Path, images: Mapping[str, Path]) -> None:
        self._root, self._images = root, images
        self._ids = {path: name for name, path in images.items()}

    def find(self, line: Line) -> str | None:
        """The id of an image that the whole line is the path, the id, or the id and ending of; else None."""
        candidates = (line.text, line.text.removesuffix(PurePosixPath(line.text).suffix))
        by_name = next((name for name in candidates if name in self._images), None)
        return self._ids.get(self._root / line.text, by_name)

"""Reads the files that name classes: `class_dict.csv`, JSON and plain text, as published datasets have them.

A class as such a file has it is a source: label files hold it by its value or its colour. What is trained may be fewer
classes, see `trainers.data.folders.meaning`.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Colour = tuple[int, int, int]

COLUMNS = {
    **dict.fromkeys(("name", "class", "label", "class_name"), "name"),
    **dict.fromkeys(("id", "idx", "index", "value", "class_id"), "value"),
    **dict.fromkeys(("r", "red"), "red"),
    **dict.fromkeys(("g", "green"), "green"),
    **dict.fromkeys(("b", "blue"), "blue"),
}
"""What the columns of a CSV file are called, in small letters."""
COLOUR_KEYS, VALUE_KEYS, NAME_KEYS = ("color", "colour", "rgb", "palette"), ("id", "value", "index"), ("name", "label")
LIST_KEYS = ("classes", "categories", "labels")
"""Keys of JSON files."""
REMEDY = "see docs/own-data.md for what such a file holds"


class Source(NamedTuple):
    """A class as label files have it: by a value, by a colour, or either."""

    name: str
    value: int | None = None
    colour: Colour | None = None


def read_sources(path: Path) -> tuple[Source, ...]:
    """The classes that a file names, in its order.

    Args:
        path: .csv with the columns name, r, g, b and perhaps id; .json; or .txt with a class a line.

    Raises:
        ValueError: it cannot be read, or does not name classes.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"a file of classes must end in {', '.join(READERS)}, but got {path}; {REMEDY}")
    text = read_text(path)
    try:
        found = tuple(read(text))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} must name the classes, but: {error}; {REMEDY}") from None
    if not found:
        raise ValueError(f"{path} must name at least one class, but names none; {REMEDY}")
    return found


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: there is no such file, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"{path} must be a readable file, but is not: {error.strerror}; paths are relative to data.root"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be text in UTF-8, but is not; save it as UTF-8") from None


def _from_csv(text: str) -> list[Source]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((mark for mark in (",", ";", "\t") if lines and mark in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    titles = [COLUMNS.get(cell.lower(), "") for cell in rows[0]] if rows else []
    if "name" not in titles:
        raise ValueError(f"its first line must be name,r,g,b or the like, but is {lines[0] if lines else ''!r}")
    return [_of_row(number, dict(zip(titles, row, strict=False))) for number, row in enumerate(rows[1:])]


def _of_row(number: int, row: Mapping[str, str]) -> Source:
    channels = [row[channel] for channel in ("red", "green", "blue") if channel in row]
    if len(channels) not in (0, 3) or not row.get("name"):
        raise ValueError(f"class {number + 1} must have a name, and all of r, g and b or none, but has {dict(row)}")
    return Source(row["name"], int(row.get("value") or number), _colour(channels) if channels else None)


def _from_json(text: str) -> list[Source]:
    held = json.loads(text)
    if isinstance(held, Mapping):
        listed = next((held[key] for key in LIST_KEYS if isinstance(held.get(key), Sequence)), None)
        if listed is None:
            return [_of_pair(number, key, value) for number, (key, value) in enumerate(held.items())]
        held = listed
    if not isinstance(held, list):
        raise ValueError(f"it must hold a list or a mapping, but holds {type(held).__name__}")
    return [_of_entry(number, entry) for number, entry in enumerate(held)]


def _of_pair(number: int, key: str, value: Any) -> Source:
    """`"7": "road"`, `"road": 7` or `"road": [128, 64, 128]`."""
    if isinstance(value, str):
        return Source(value, int(key))
    return Source(key, number, _colour(value)) if isinstance(value, Sequence) else Source(key, int(value))


def _of_entry(number: int, entry: Any) -> Source:
    """`"road"`, or a mapping with its name and perhaps its value and colour."""
    if isinstance(entry, str):
        return Source(entry, number)
    name = next((entry[key] for key in NAME_KEYS if key in entry), None)
    if name is None:
        raise ValueError(f"class {number + 1} must have a name, but is {entry}")
    colour = next((entry[key] for key in COLOUR_KEYS if key in entry), None)
    value = next((entry[key] for key in VALUE_KEYS if key in entry), number)
    return Source(str(name), int(value), None if colour is None else _colour(colour))


def _from_text(text: str) -> list[Source]:
    """`road`, `7: road`, or `128 64 128 road` a line."""
    return [_of_line(number, line.strip()) for number, line in enumerate(filter(str.strip, text.splitlines()))]


def _of_line(number: int, line: str) -> Source:
    if coloured := re.fullmatch(r"(\d+)\s+(\d+)\s+(\d+)\s+(.+)", line):
        return Source(coloured[4], number, _colour(coloured.groups()[:3]))
    if valued := re.fullmatch(r"(\d+)\s*:\s*(.+)", line):
        return Source(valued[2], int(valued[1]))
    return Source(line, number)


def _colour(channels: Sequence[Any]) -> Colour:
    red, green, blue = (int(channel) for channel in channels)
    if not all(0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError(f"a colour must be three numbers in 0..255, but got {list(channels)}")
    return red, green, blue


READERS: Mapping[str, Callable[[str], list[Source]]] = {".csv": _from_csv, ".json": _from_json, ".txt": _from_text}

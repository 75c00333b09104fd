"""Where in the code an exception came from; where a plugin did it, its author, and nobody else, is told."""

import re
import traceback
from pathlib import Path
from typing import NamedTuple

from trainers.plugins.content import DIGITS, PACKAGE

_HEADING = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_RAISED = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.MULTILINE)
_COPY = re.compile(rf"_[0-9a-f]{{{DIGITS}}}$")


def place_in_plugin(error: BaseException) -> str | None:
    """The file and line of a plugin that an exception came out of, as `my_losses.py, line 7`; None for any other.

    The innermost line of a plugin counts, also where it called something that raised.
    """
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    return next((place for file, line in reversed(frames) if (place := _in_plugin(file, line))), None)


class Raised(NamedTuple):
    """An exception, as far as a traceback's text tells.

    Attributes:
        kind: name of its class, with or without its module's.
        message: the rest of its first line.
        place: file and line of the innermost line of a plugin, as `place_in_plugin` has it; where no plugin is in the
            traceback, of the innermost line of all.
    """

    kind: str
    message: str
    place: str


def read_traceback(text: str) -> Raised | None:
    """The exception whose traceback stands last in a text; None where there is none, or it has no such line.

    Of an exception that a process of a data loader sent, or that another one caused, the last traceback is the one
    that says where it was raised.
    """
    *_, last = text.rpartition(_HEADING)
    frames = list(_FRAME.finditer(last))
    raised = frames and _RAISED.search(last, frames[-1].end())
    if not raised:
        return None
    places = [(frame["file"], int(frame["line"])) for frame in frames]
    in_plugin = next((place for file, line in reversed(places) if (place := _in_plugin(file, line))), None)
    file, line = places[-1]
    return Raised(raised["kind"], (raised["message"] or "").strip(), in_plugin or f"{file}, line {line}")


def _in_plugin(file: str, line: int) -> str | None:
    parts = Path(file).parts
    if PACKAGE not in parts[:-1]:
        return None
    below = parts[parts.index(PACKAGE) + 1 :]
    first = Path(below[0])
    named = first.with_name(_COPY.sub("", first.stem) + first.suffix)
    return f"{Path(named, *below[1:])}, line {line}"

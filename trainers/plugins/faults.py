"""Where in a plugin's code an exception came from, so that its author, and nobody else, is told."""

import re
import traceback
from pathlib import Path

from trainers.plugins.content import DIGITS, PACKAGE

_COPY = re.compile(rf"_[0-9a-f]{{{DIGITS}}}$")


def place_in_plugin(error: BaseException) -> str | None:
    """The file and line of a plugin that an exception came out of, as `my_losses.py, line 7`; None for any other.

    The innermost line of a plugin counts, also where it called something that raised.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = Path(frame.filename).parts
        if PACKAGE in parts:
            below = parts[parts.index(PACKAGE) + 1 :]
            first = Path(below[0])
            named = first.with_name(_COPY.sub("", first.stem) + first.suffix)
            return f"{Path(named, *below[1:])}, line {frame.lineno}"
    return None

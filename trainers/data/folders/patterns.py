"""Finds files by a pattern: a folder, or a path with `{split}`, `{id}`, `*`, `**` and `?`.

`{id}` is what an image and its label have in common, and may reach over several folders. Where a pattern has none, it
is what its stars stand for, and below a folder the path without its ending. Hidden files are never found.
"""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from trainers.data.files import SplitMissingError, is_hidden, listing_of

TOKEN = re.compile(r"(\{id\}|\*\*/|\*\*|\*|\?)")
SPLIT, ID = "{split}", "{id}"
SPECIAL = (ID, "*", "?")
WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
"""Regular expressions of wildcards."""


def with_split(pattern: str, folder: str) -> str:
    """The pattern of one split."""
    return pattern.replace(SPLIT, folder)


def find(root: Path, pattern: str, suffixes: Collection[str], *, what: str) -> dict[str, Path]:
    """The files that a pattern means, by id and in its order.

    Args:
        root: the folder that it is relative to.
        pattern: without `{split}`.
        suffixes: endings that a file may have where the pattern leaves its ending open.
        what: the setting, for messages.

    Raises:
        SplitMissingError: there is none.
        ValueError: two files have one id.
    """
    base, rest = _base(root, pattern)
    if not base.is_dir():
        raise SplitMissingError(
            f"data.{what}={pattern} must lead to files below data.root, but {base} is no folder; "
            f"{listing_of(_nearest_folder(base))}"
        )
    matching = _expression(rest, suffixes)
    found: dict[str, Path] = {}
    for name in sorted(_files(base, deep=_is_deep(rest), levels=rest.count("/"))):
        if match := matching.fullmatch(name):
            identity = _identity(match)
            if identity in found:
                raise ValueError(
                    f"data.{what} must find one file for each id, but {found[identity]} and {base / name} are both "
                    f"{identity!r}; give the ending, or put {ID} where they differ"
                )
            found[identity] = base / name
    if not found:
        raise SplitMissingError(f"data.{what}={pattern} must fit files, but fits none in {base}; {listing_of(base)}")
    return found


def expected(root: Path, pattern: str, identity: str) -> Path:
    """Where the file of an id should be, as far as the pattern says."""
    base, rest = _base(root, pattern)
    if not _is_special(rest):
        return base / rest / f"{identity}.png"
    return base / (rest.replace(ID, identity) if ID in rest else rest.replace("*", identity, 1))


def _base(root: Path, pattern: str) -> tuple[Path, str]:
    """The folder that a pattern starts in, and the rest of it."""
    parts = pattern.replace("\\", "/").split("/")
    special = next((place for place, part in enumerate(parts) if _is_special(part)), len(parts))
    first = "/".join(parts[:special])
    return root / (first or ("/" if special else "")), "/".join(parts[special:])


def _is_special(text: str) -> bool:
    return any(mark in text for mark in SPECIAL)


def _nearest_folder(path: Path) -> Path:
    return next((folder for folder in path.parents if folder.is_dir()), Path())


def _is_deep(rest: str) -> bool:
    return not rest or ID in rest or "**" in rest


def _expression(rest: str, suffixes: Collection[str]) -> re.Pattern[str]:
    """The regular expression of paths below the base; it captures the id, or what the stars stand for."""
    written = (rest or ID).removesuffix(".*")
    named = ID in written
    body, seen = "", False
    for part in TOKEN.split(written):
        if part == ID:
            body += "(?P=id)" if seen else "(?P<id>.+)"
            seen = True
        elif part in WILD:
            body += WILD[part] if named else f"({WILD[part]})"
        else:
            body += re.escape(part)
    open_ended = written.endswith(SPECIAL)
    return re.compile(body + (f"(?i:{'|'.join(map(re.escape, suffixes))})" if open_ended else ""))


def _identity(match: re.Match[str]) -> str:
    captured = match.groupdict()
    return captured["id"] if captured else "/".join(part.strip("/") for part in match.groups() if part)


def _files(base: Path, *, deep: bool, levels: int) -> Iterator[str]:
    """Paths of all files below a folder, as far down as is asked for, also through links that do not lead back up."""
    for folder, below, names in os.walk(base, followlinks=True):
        here = Path(folder).relative_to(base)
        goes_on = deep or len(here.parts) < levels
        below[:] = [name for name in below if goes_on and not is_hidden(name) and not _leads_back(folder, name)]
        yield from ((here / name).as_posix() for name in names if not is_hidden(name))


def _leads_back(folder: str, name: str) -> bool:
    """Whether a folder in a folder is a link to one that holds it."""
    path = os.path.join(folder, name)  # noqa: PTH118  # for every folder of a dataset: a Path costs as much as the rest
    return os.path.islink(path) and f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(path)}/")  # noqa: PTH114

"""The files of one table: numbered live files and parts, how each is read, how they are merged and cleared up.

A table is a folder. Rows arrive in `live-<n>.arrows`, an Arrow IPC stream; later they stand in a
Parquet part, whose name is the range of numbers it holds: `part-000001-000007.parquet`. A reader
passes over every file whose numbers lie within those of a readable part. So sealing a live file and
merging parts are one act in one order: the new part complete under its name, then the old files
removed. A kill between the two leaves no row lost and none twice. What cannot be read is kept aside
under its name and `.damaged`, and never read again: its rows may come anew from elsewhere. What the
columns mean, and which rows are new, is not known here.
"""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pyarrow as pa

from study.tables.live import read_live
from study.tables.parts import Part, Query, write_part

SCHEMA_VERSION = 1
PART_ROWS = 1 << 18
"""Parts are merged up to this many rows, which bounds what one merge rewrites."""

DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading a damaged file raises."""
ASIDE = ".damaged"
"""What is appended to the name of a file that cannot be read to its end."""
_FILE_NAME = re.compile(r"live-(\d+)\.arrows|part-(\d+)-(\d+)\.parquet")


class TableWarning(UserWarning):
    """A file of a table is damaged; the message names it and says what was passed over."""


class TableFile(NamedTuple):
    """A file and the numbers whose rows it holds."""

    path: Path
    first: int
    last: int
    live: bool


Content = TypeVar("Content")


class Scan(NamedTuple, Generic[Content]):
    """What was loaded of the readable files of a table, oldest first; what is damaged; what a part has replaced."""

    loaded: dict[TableFile, Content]
    damage: dict[TableFile, str]
    replaced: list[TableFile]

    def warn(self) -> None:
        """Names every damaged file, readable up to some batch or not at all."""
        for message in self.damage.values():
            warnings.warn(message, TableWarning, stacklevel=3)


class Stored(NamedTuple):
    """What a file holds."""

    schema: pa.Schema
    rows: int


def list_files(place: Path) -> list[TableFile]:
    """Widest range first, and a part before the live file of the same number."""
    files = filter(None, (_table_file(path, path.name) for path in place.iterdir()))
    return sorted(files, key=lambda file: (file.first - file.last, file.first, file.live))


def next_number(place: Path) -> int:
    """A number that no file has had, also none that was kept aside."""
    named = (_table_file(path, path.name.removesuffix(ASIDE)) for path in place.iterdir())
    return 1 + max((file.last for file in named if file), default=0)


def _table_file(path: Path, name: str) -> TableFile | None:
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    live, first, last = match.groups()
    return TableFile(path, int(live or first), int(live or last), live is not None)


def check_version(path: Path, schema: pa.Schema) -> None:
    """Refuse a file that this kdstudy may misread.

    Raises:
        ValueError: a newer kdstudy wrote it.
    """
    written = (schema.metadata or {}).get(b"schema_version", b"0")
    if not written.isdigit():
        raise OSError(f"its schema_version must be a number, but is {written!r}")
    version = int(written)
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"a table's schema version must be at most {SCHEMA_VERSION}, but {path} has {version}; "
            "a newer kdstudy wrote it: upgrade to read it"
        )


def open_part(path: Path) -> Part:
    """A part, of which only the footer is read so far.

    Raises:
        OSError: it is damaged.
        ValueError: a newer kdstudy wrote it.
    """
    part = Part(path)
    check_version(path, part.schema)
    return part


def load_live(path: Path) -> tuple[pa.Table, int]:
    """All whole batches of a live file, and the number of bytes that are none."""
    live = read_live(path)
    check_version(path, live.table.schema)
    return live.table, live.lost


def scan(files: Sequence[TableFile], load: Callable[[TableFile], tuple[Content, int]]) -> Scan[Content]:
    """Loads something of every file that counts.

    Args:
        files: the answer of `list_files`.
        load: gives what is wanted of a file, and the number of its bytes that cannot be read.

    Raises:
        ValueError: a newer kdstudy wrote a file.
    """
    found: Scan[Content] = Scan({}, {}, [])
    for file in files:
        if any(_covers(part, file) for part in found.loaded):
            found.replaced.append(file)
            continue
        try:
            found.loaded[file], torn = load(file)
            if torn:
                found.damage[file] = f"{file.path}: passed over {torn} bytes, no whole batch"
        except DAMAGE as fault:
            found.damage[file] = f"{file.path}: passed over, not readable: {fault}"
    oldest_first = sorted(found.loaded.items(), key=lambda item: item[0].first)
    return found._replace(loaded=dict(oldest_first))


def _covers(part: TableFile, other: TableFile) -> bool:
    return part.first <= other.first and other.last <= part.last


def concat(tables: Iterable[pa.Table]) -> pa.Table:
    """One table; a column that older files lack is null in their rows."""
    return pa.concat_tables(tables, promote_options="permissive")


def _sync_folder(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def merge(tables: Mapping[TableFile, pa.Table]) -> None:
    """Puts one part in the place of neighbours, oldest first; so a live file alone is sealed."""
    files = list(tables)
    place = files[0].path.parent
    part = place / f"part-{files[0].first:06}-{files[-1].last:06}.parquet"
    unfinished = place / f"{part.name}.tmp"
    write_part(concat(tables.values()), unfinished)
    unfinished.replace(part)
    _sync_folder(place)
    for file in files:
        file.path.unlink()


def _groups(found: Scan[Stored]) -> list[list[TableFile]]:
    """Neighbours to merge."""
    groups: list[list[TableFile]] = [[]]
    rows = 0
    for file, stored in found.loaded.items():
        if rows + stored.rows > PART_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(file)
        rows += stored.rows
    return [group for group in groups if len(group) > 1 or any(file.live for file in group)]


def settle(place: Path, columns: Sequence[str] = (), see: Callable[[pa.Table], None] | None = None) -> Scan[Stored]:
    """Removes what is unfinished or replaced, keeps aside what is damaged, seals live files, merges small parts.

    Only for the one process that writes. One file at a time is in memory, or those that become one part.

    Args:
        place: the table's folder.
        columns: what `see` wants.
        see: gets these columns of every readable file.

    Returns:
        What the table held before.
    """
    for unfinished in place.glob("*.tmp"):
        unfinished.unlink()
    found = scan(list_files(place), lambda file: _look(file, columns, see))
    found = keep_aside(found)
    found.warn()
    for file in found.replaced:
        file.path.unlink()
    for group in _groups(found):
        whole = scan(group, _load_whole)
        if len(whole.loaded) == len(group):
            merge(whole.loaded)
        else:
            whole.warn()
    return found


def keep_aside(found: Scan[Content]) -> Scan[Content]:
    """Keeps the damaged files under another name, those that could be read in part as a copy; the same scan, saying so.

    The copy is there before what was read of the file comes to stand elsewhere.
    """
    said = {}
    for file, message in found.damage.items():
        aside = file.path.with_name(file.path.name + ASIDE)
        if file in found.loaded:
            copy = aside.with_name(f"{aside.name}.tmp")
            shutil.copyfile(file.path, copy)
            copy.replace(aside)
        else:
            file.path.replace(aside)
        said[file] = f"{message}; kept as {aside.name}"
    return found._replace(damage=said)


def _look(file: TableFile, columns: Sequence[str], see: Callable[[pa.Table], None] | None) -> tuple[Stored, int]:
    if file.live:
        table, torn = load_live(file.path)
        if see:
            see(table.select(columns))
        return Stored(table.schema, table.num_rows), torn
    part = open_part(file.path)
    # what it has replaced will be removed, and what is damaged can still be had from elsewhere
    part.verify()
    if see:
        see(part.read(Query(columns), part.schema))
    return Stored(part.schema, part.rows), 0


def _load_whole(file: TableFile) -> tuple[pa.Table, int]:
    if file.live:
        return load_live(file.path)
    part = open_part(file.path)
    return part.read(Query(), part.schema), 0

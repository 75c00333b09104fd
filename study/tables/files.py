"""The files of one table: numbered live files and parts, how each is read, how they are merged and cleared up.

A table is a folder. Rows arrive in `live-<n>.arrows`, an Arrow IPC stream; later they stand in a
Parquet part, whose name is the range of numbers it holds: `part-000001-000007.parquet`. A reader
passes over every file whose numbers lie within those of a readable part. So sealing a live file and
merging parts are one act in one order: the new part complete under its name, then the old files
removed. A kill between the two leaves no row lost and none twice. What the columns mean, and which
rows are new, is not known here.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pyarrow as pa

from study.tables.parts import Part, Query, write_part

SCHEMA_VERSION = 1
PART_ROWS = 1 << 18
"""Parts are merged up to this many rows, which bounds what one merge rewrites."""

DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading a damaged file raises."""
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
    files = []
    for path in place.iterdir():
        if match := _FILE_NAME.fullmatch(path.name):
            live, first, last = match.groups()
            files.append(TableFile(path, int(live or first), int(live or last), live is not None))
    return sorted(files, key=lambda file: (file.first - file.last, file.first, file.live))


def check_version(path: Path, schema: pa.Schema) -> None:
    """Refuse a file that this kdstudy may misread.

    Raises:
        ValueError: a newer kdstudy wrote it.
    """
    version = int((schema.metadata or {}).get(b"schema_version", 0))
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
    """All whole batches of a stream, and the number of bytes that are none."""
    stream = pa.BufferReader(path.read_bytes())
    reader = pa.ipc.open_stream(stream)
    check_version(path, reader.schema)
    batches, whole, broken = [], stream.tell(), 0
    try:
        for batch in reader:
            if _is_sound(batch):
                batches.append(batch)
            else:
                broken += stream.tell() - whole
            whole = stream.tell()
    except (pa.ArrowException, OSError):
        pass  # counted below, as is a tail of zeros, which reads as the end of a stream
    return pa.Table.from_batches(batches, reader.schema), broken + stream.size() - whole


def _is_sound(batch: pa.RecordBatch) -> bool:
    """Whether a batch can be read to its last value, and none of its texts is cut."""
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        return False
    return True


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
    """Neighbours to merge; an unreadable file keeps its number, so no group reaches across it."""
    groups: list[list[TableFile]] = [[]]
    rows = 0
    for file in sorted({*found.loaded, *found.damage}, key=lambda file: (file.first, file.last)):
        added = found.loaded[file].rows if file in found.loaded else PART_ROWS + 1
        if rows + added > PART_ROWS:
            groups.append([])
            rows = 0
        if file in found.loaded:
            groups[-1].append(file)
            rows += added
    return [group for group in groups if len(group) > 1 or any(file.live for file in group)]


def settle(place: Path, columns: Sequence[str] = (), see: Callable[[pa.Table], None] | None = None) -> Scan[Stored]:
    """Removes what is unfinished or replaced, seals live files, merges small parts.

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
    files = list_files(place)
    found = scan(files, lambda file: _look(file, files, columns, see))
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


def _look(
    file: TableFile, files: Sequence[TableFile], columns: Sequence[str], see: Callable[[pa.Table], None] | None
) -> tuple[Stored, int]:
    if file.live:
        table, torn = load_live(file.path)
        if see:
            see(table.select(columns))
        return Stored(table.schema, table.num_rows), torn
    part = open_part(file.path)
    # what it has replaced will be removed, so all of it must be readable
    if any(_covers(file, other) for other in files if other != file):
        part.read(Query(), part.schema)
    if see:
        see(part.read(Query(columns), part.schema))
    return Stored(part.schema, part.rows), 0


def _load_whole(file: TableFile) -> tuple[pa.Table, int]:
    if file.live:
        return load_live(file.path)
    part = open_part(file.path)
    return part.read(Query(), part.schema), 0

"""The files of one table: numbered live files and parts, how they are read, merged and cleared up.

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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 1
PART_ROWS = 1 << 18
"""Parts are merged up to this many rows, which bounds what one merge rewrites."""

_FILE_NAME = re.compile(r"live-(\d+)\.arrows|part-(\d+)-(\d+)\.parquet")


class TableWarning(UserWarning):
    """A file of a table is damaged; the message names it and says what was passed over."""


class TableFile(NamedTuple):
    """A file and the numbers whose rows it holds."""

    path: Path
    first: int
    last: int
    live: bool


class Scan(NamedTuple):
    """The readable files of a table, oldest first; what is damaged; what a part has replaced."""

    tables: dict[TableFile, pa.Table]
    damage: dict[TableFile, str]
    replaced: list[TableFile]

    def warn(self) -> None:
        """Names every damaged file, readable up to some batch or not at all."""
        for message in self.damage.values():
            warnings.warn(message, TableWarning, stacklevel=3)


def list_files(place: Path) -> list[TableFile]:
    """Widest range first, and a part before the live file of the same number."""
    files = []
    for path in place.iterdir():
        if match := _FILE_NAME.fullmatch(path.name):
            live, first, last = match.groups()
            files.append(TableFile(path, int(live or first), int(live or last), live is not None))
    return sorted(files, key=lambda file: (file.first - file.last, file.first, file.live))


def _selection(path: Path, schema: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    """Which columns to read; always the first too, as a table without columns has no rows."""
    version = int((schema.metadata or {}).get(b"schema_version", 0))
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"a table's schema version must be at most {SCHEMA_VERSION}, but {path} has {version}; "
            "a newer kdstudy wrote it: upgrade to read it"
        )
    names: list[str] = schema.names
    return [name for name in names if columns is None or name in columns or name == names[0]]


def _load_part(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as part:
        return part.read(_selection(path, part.schema_arrow, columns))


def load_live(path: Path, columns: Sequence[str] | None = None) -> tuple[pa.Table, int]:
    """All whole batches of a stream, and the number of bytes that are none."""
    stream = pa.BufferReader(path.read_bytes())
    reader = pa.ipc.open_stream(stream)
    names = _selection(path, reader.schema, columns)
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
    return pa.Table.from_batches(batches, reader.schema).select(names), broken + stream.size() - whole


def _is_sound(batch: pa.RecordBatch) -> bool:
    """Whether a batch can be read to its last value, and none of its texts is cut."""
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        return False
    return True


def scan(
    files: Sequence[TableFile],
    columns: Sequence[str] | None = None,
    parts: dict[TableFile, pa.Table] | None = None,
) -> Scan:
    """Reads every file that counts.

    Args:
        files: the answer of `list_files`.
        columns: which columns; all where None.
        parts: parts that are loaded already; gains those that this scan loads.

    Raises:
        ValueError: a newer kdstudy wrote a file.
    """
    parts = {} if parts is None else parts
    found = Scan({}, {}, [])
    for file in files:
        if any(part.first <= file.first and file.last <= part.last for part in found.tables):
            found.replaced.append(file)
            continue
        try:
            if file.live:
                found.tables[file], torn = load_live(file.path, columns)
                if torn:
                    what = f"passed over {torn} bytes, no whole batch"
                    found.damage[file] = f"{file.path}: {what}"
            else:
                parts[file] = parts[file] if file in parts else _load_part(file.path, columns)
                found.tables[file] = parts[file]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
            found.damage[file] = f"{file.path}: passed over, not readable: {fault}"
    oldest_first = sorted(found.tables.items(), key=lambda item: item[0].first)
    return found._replace(tables=dict(oldest_first))


def steady_scan(place: Path, columns: Sequence[str] | None) -> Scan:
    """A scan during which no file came or went: one listing may miss a live file and its part."""
    parts: dict[TableFile, pa.Table] = {}  # never change: a next try has only the new ones to load
    for _ in range(100):
        files = list_files(place)
        found = scan(files, columns, parts)
        if list_files(place) == files:
            return found
    raise TimeoutError(f"{place} must rest to be read, but changed at each of 100 tries; try later")


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
    rows = concat(tables.values())
    with unfinished.open("wb") as sink:
        pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
        sink.flush()
        os.fsync(sink.fileno())
    unfinished.replace(part)
    _sync_folder(place)
    for file in files:
        file.path.unlink()


def _groups(found: Scan) -> list[list[TableFile]]:
    """Neighbours to merge; an unreadable file keeps its number, so no group reaches across it."""
    groups: list[list[TableFile]] = [[]]
    rows = 0
    for file in sorted({*found.tables, *found.damage}, key=lambda file: (file.first, file.last)):
        added = found.tables[file].num_rows if file in found.tables else PART_ROWS + 1
        if rows + added > PART_ROWS:
            groups.append([])
            rows = 0
        if file in found.tables:
            groups[-1].append(file)
            rows += added
    return [group for group in groups if len(group) > 1 or any(file.live for file in group)]


def settle(place: Path) -> Scan:
    """Removes what is unfinished or replaced, seals live files, merges small parts.

    Only for the one process that writes. Returns what the table held before.
    """
    for unfinished in place.glob("*.tmp"):
        unfinished.unlink()
    found = scan(list_files(place))
    found.warn()
    for file in found.replaced:
        file.path.unlink()
    for group in _groups(found):
        merge({file: found.tables[file] for file in group})
    return found

"""One Parquet part of a table: written so that a few of its rows can be found, and read no further than they lie.

A page has a checksum of its own; the footer, whose ranges say which row groups may be left out, gets one here, between
the pages and itself, where other readers of Parquet do not look. Parts of an older kdstudy have none: their ranges are
not trusted, and all their rows are looked at. How parts make a table is not known here.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 1 << 15
"""So many rows stand together: eight trials of 200 reports and 19 classes, written one after the other."""

_MARK = b"kdF1"
_TAIL = 8
"""Bytes that end a Parquet file: the length of its footer, and PAR1."""
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


class Query(NamedTuple):
    """What to read of every file: which columns, which rows, and which texts as numbers of a dictionary."""

    columns: Sequence[str] | None = None
    where: pc.Expression | None = None
    dictionary: Sequence[str] = ()

    def answer(self, table: pa.Table) -> pa.Table:
        """What of a table in memory is asked for."""
        if self.where is not None:
            table = table.filter(self.where)
        return self.encoded(table if self.columns is None else table.select(self.columns))

    def encoded(self, table: pa.Table) -> pa.Table:
        for name in {*self.dictionary} & {*table.column_names}:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].dictionary_encode())
        return table


class Part:
    """A part whose footer has been read.

    Raises:
        OSError: the file is damaged, or is no Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self._proven = _is_proven(path)
        self._fragment = _FORMAT.make_fragment(str(path), pyarrow.fs.LocalFileSystem())
        self.schema: pa.Schema = self._fragment.physical_schema
        self.rows: int = self._fragment.metadata.num_rows

    def read(self, query: Query, schema: pa.Schema) -> pa.Table:
        """What is asked for, in the columns of `schema`, null where this part has them not.

        Raises:
            OSError: a page that is needed is damaged.
        """
        if query.where is not None and not self._proven:
            return query.answer(self._fragment.to_table(schema=schema))
        # most parts of a long table hold no row that is asked for, and to start a scan costs more than to see that
        if query.where is not None and not self._fragment.subset(query.where, schema).row_groups:
            return query.answer(schema.empty_table())
        columns = None if query.columns is None else list(query.columns)
        return query.encoded(self._fragment.to_table(schema=schema, columns=columns, filter=query.where))


def write_part(rows: pa.Table, path: Path) -> None:
    """Write a part and wait until it is on the disk."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_checksum=True)
    written = memoryview(sink.getvalue())
    footer = len(written) - _TAIL - int.from_bytes(written[-_TAIL:-4], "little")
    with path.open("wb") as file:
        file.write(written[:footer])
        file.write(_MARK + zlib.crc32(written[footer:]).to_bytes(4, "little"))
        file.write(written[footer:])
        file.flush()
        os.fsync(file.fileno())


def _is_proven(path: Path) -> bool:
    """Whether the footer has a checksum, which then is right."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        footer = int.from_bytes(file.read(4), "little") + _TAIL
        if footer + len(_MARK) + 4 > size:
            return False
        file.seek(size - footer - len(_MARK) - 4)
        mark, checksum, content = file.read(len(_MARK)), file.read(4), file.read()
    if mark != _MARK:
        return False
    if zlib.crc32(content).to_bytes(4, "little") != checksum:
        raise OSError("its footer is not what was written")
    return True

"""One Parquet part of a table: written so that a few of its rows can be found, and read no further than they lie.

A page has a checksum of its own; the footer, whose ranges say which row groups may be left out, gets one here, between
the pages and itself, where other readers of Parquet do not look. There also stands one of all the pages, by which a
whole part is looked through faster than it is read. Parts of an older kdstudy have only the first, or none: ranges of a
footer without are not trusted, and all rows are looked at. How parts make a table is not known here.
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

_FOOTER_MARK, _WHOLE_MARK = b"kdF1", b"kdP1"
"""Each is followed by its checksum, CRC-32, little-endian; that of all pages comes first."""
_SUMMED = 8
"""Bytes of a mark with its checksum."""
_TAIL = 8
"""Bytes that end a Parquet file: the length of its footer, and PAR1."""
_BLOCK = 1 << 22
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
        self._path, self._proof = path, _proof(path)
        self._fragment = _FORMAT.make_fragment(str(path), pyarrow.fs.LocalFileSystem())
        self.schema: pa.Schema = self._fragment.physical_schema
        self.rows: int = self._fragment.metadata.num_rows

    @property
    def is_summed(self) -> bool:
        """Whether all of its pages have one checksum, so that to look through them is fast."""
        return self._proof.pages is not None

    def verify(self) -> None:
        """Look through the whole part.

        Raises:
            OSError: a page is damaged.
        """
        if self._proof.pages is None:
            self.read(Query(), self.schema)
        elif self._proof.pages[0] != _sum_pages(self._path, self._proof.pages[1]):
            raise OSError("its pages are not what was written")

    def read(self, query: Query, schema: pa.Schema) -> pa.Table:
        """What is asked for, in the columns of `schema`, null where this part has them not.

        Raises:
            OSError: a page that is needed is damaged.
        """
        if query.where is not None and not self._proof.footer:
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
    pages = len(written) - _TAIL - int.from_bytes(written[-_TAIL:-4], "little")
    with path.open("wb") as file:
        file.write(written[:pages])
        file.write(_summed(_WHOLE_MARK, written[:pages]))
        file.write(_summed(_FOOTER_MARK, written[pages:]))
        file.write(written[pages:])
        file.flush()
        os.fsync(file.fileno())


def _summed(mark: bytes, content: memoryview) -> bytes:
    return mark + zlib.crc32(content).to_bytes(4, "little")


class _Proof(NamedTuple):
    """What stands between the pages and the footer.

    Attributes:
        footer: whether there is a checksum of the footer, which then is right.
        pages: that of all pages, and their bytes; None where there is none.
    """

    footer: bool
    pages: tuple[bytes, int] | None


def _proof(path: Path) -> _Proof:
    """Raises OSError where the footer is damaged."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        footer = int.from_bytes(file.read(4), "little") + _TAIL
        if footer + _SUMMED > size:
            return _Proof(False, None)
        before = max(0, size - footer - 2 * _SUMMED)
        file.seek(before)
        marks, content = file.read(size - footer - before), file.read()
    found = marks[-_SUMMED:]
    if not found.startswith(_FOOTER_MARK):
        return _Proof(False, None)
    if found != _summed(_FOOTER_MARK, memoryview(content)):
        raise OSError("its footer is not what was written")
    whole = marks[:-_SUMMED]
    return _Proof(True, (whole, before) if whole.startswith(_WHOLE_MARK) else None)


def _sum_pages(path: Path, size: int) -> bytes:
    """The mark and checksum of the first `size` bytes of a file."""
    checksum = 0
    with path.open("rb") as file:
        while size and (block := file.read(min(size, _BLOCK))):
            checksum, size = zlib.crc32(block, checksum), size - len(block)
    return _WHOLE_MARK + checksum.to_bytes(4, "little")

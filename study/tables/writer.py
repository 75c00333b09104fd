"""The writer of a table, which survives a kill.

One process writes; the study's lock sees to that, not this module. Each append is one write to the
operating system: SIGKILL loses at most the batch being written, whose torn tail readers pass over.
fsync guards only against the loss of the machine and takes milliseconds, so it comes at most every
SYNC_SECONDS. A row once written is never changed. `study.tables.files` says how the files lie.
"""

import errno
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from study.tables.files import SCHEMA_VERSION as SCHEMA_VERSION
from study.tables.files import TableFile, keep_aside, load_live, merge, next_number, scan, settle
from study.tables.files import TableWarning as TableWarning
from study.tables.keys import Keys
from study.tables.live import header, sealed

LIVE_BYTES = 4 << 20
"""Size at which a live file becomes a part: three thousand reports, sealed in half a second."""
SYNC_SECONDS = 5.0


class TableWriter:
    """Appends rows to one table; the only process that does so.

    Rows whose key the table already holds are dropped: a resumed trial reports again what its dead
    driver had recorded. So all rows of one key come in one append, which stands whole or not at
    all.

    Args:
        folder: the folder of all tables of a study.
        schema: one of `study.tables.schemas`; it names the table and its key.

    Attributes:
        damage: what this writer has found damaged in the table and kept aside, a line each.

    Raises:
        ValueError: a column has another type in the rows already there.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._key: list[str] = schema.metadata[b"key"].decode().split()
        self._place = folder / schema.metadata[b"table"].decode()
        self._place.mkdir(parents=True, exist_ok=True)
        self._keys = Keys(schema, self._key)
        found = settle(self._place, self._key, self._keys.add_all)
        self.damage = list(found.damage.values())
        self._check_types([stored.schema for stored in found.loaded.values()])
        self._start(next_number(self._place))

    def _check_types(self, stored: list[pa.Schema]) -> None:
        try:
            pa.unify_schemas([*stored, self._schema], promote_options="permissive")
        except pa.ArrowException as fault:
            raise ValueError(
                f"a column keeps its type while a study lasts, but in {self._place}: {fault}; start a new study"
            ) from fault

    def _start(self, number: int) -> None:
        """Opens a live file, which gets its name once its header is whole."""
        path = self._place / f"live-{number:06}.arrows"
        unfinished = self._place / f"{path.name}.tmp"
        self._live = TableFile(path, number, number, live=True)
        self._stream = unfinished.open("ab", buffering=0)
        self._size = 0
        self._synced = time.monotonic()
        self._write(header(self._schema))
        unfinished.replace(path)

    def contains(self, key: tuple[Any, ...]) -> bool:
        """Whether the table has rows of this key."""
        return key in self._keys

    def last_parts(self, first: tuple[Any, ...]) -> Sequence[int]:
        """The last parts, in order, of the keys that begin so and have one part more, a whole number."""
        return self._keys.numbers(first)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends the rows whose key is new; they outlive this process once this returns.

        Args:
            rows: values by column; an optional column may be missing. Times carry their zone.

        Raises:
            ValueError: an unknown column, a required one without a value, a value of another type.
        """
        batch = self._batch(rows)
        keys = [tuple(row.get(column) for column in self._key) for row in rows]
        new = {key for key in keys if key not in self._keys}
        if not new:
            return
        if not new.issuperset(keys):
            batch = batch.filter(pa.array([key in new for key in keys]))
        self._write(sealed(batch.serialize()))
        for key in new:
            self._keys.add(key)
        if self._size > LIVE_BYTES:
            self._seal()

    def _batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        if unknown := {column for row in rows for column in row} - set(self._schema.names):
            raise ValueError(
                f"rows must have the columns of {self._place.name!r}, "
                f"but got {', '.join(sorted(unknown))}; known: {', '.join(self._schema.names)}"
            )
        arrays = [self._column(field, [row.get(field.name) for row in rows]) for field in self._schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _column(self, field: pa.Field, values: list[Any]) -> pa.Array:
        where = f"{self._place.name}.{field.name}"
        try:
            array = pa.array(values, field.type)
        except (pa.ArrowException, OverflowError) as fault:
            raise ValueError(f"{where} must be {field.type}, but: {fault}") from fault
        if array.null_count and not field.nullable:
            raise ValueError(f"{where} must have a value in every row, but got None")
        return array

    def _write(self, message: bytes) -> None:
        try:
            if self._stream.write(message) != len(message):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException as error:
            self._stream.truncate(self._size)  # nothing behind a torn batch could be read
            if isinstance(error, OSError):
                error.filename = str(self._live.path)
            raise
        self._size += len(message)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _seal(self) -> None:
        """Goes on in a new live file first: what a part has replaced must not grow."""
        full = self._live
        self._stream.close()
        self._start(full.last + 1)
        found = keep_aside(scan([full], lambda file: load_live(file.path)))
        found.warn()
        self.damage += found.damage.values()
        if found.loaded:
            merge(found.loaded)

    def close(self) -> None:
        """Seals the live file and merges small parts."""
        if not self._stream.closed:
            self._stream.close()
            self.damage += settle(self._place).damage.values()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

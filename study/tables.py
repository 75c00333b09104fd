"""The tables of a study: Arrow schemas, a writer that survives a kill, a reader for any moment.

One process writes; the study's lock sees to that, not this module. Each append is one write to the
operating system: SIGKILL loses at most the batch being written, whose torn tail readers pass over.
fsync guards only against the loss of the machine and takes milliseconds, so it comes at most every
SYNC_SECONDS. A row once written is never changed. `study.table_files` says how the files lie.
"""

import errno
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from study.table_files import SCHEMA_VERSION as SCHEMA_VERSION
from study.table_files import TableFile, concat, list_files, load_live, merge, settle
from study.table_files import TableWarning as TableWarning
from study.table_keys import Keys
from study.table_parts import Query
from study.table_reading import steady_read

PARAMETER = "param/"
"""What the columns of searched parameters begin with; their paths follow."""
LIVE_BYTES = 4 << 20
"""Size at which a live file becomes a part: three thousand reports, sealed in half a second."""
SYNC_SECONDS = 5.0

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("ms", tz="UTC")


def _fields(kind: pa.DataType, names: str, *, nullable: bool = False) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=nullable) for name in names.split()]


def _schema(table: str, key: str, *groups: list[pa.Field]) -> pa.Schema:
    fields = [field for group in groups for field in group]
    return pa.schema(fields, {"table": table, "key": key, "schema_version": str(SCHEMA_VERSION)})


def trials_schema(parameters: Mapping[str, pa.DataType]) -> pa.Schema:
    """One row per ended trial: what was asked, how it ended, what it cost.

    `state` is COMPLETE, PRUNED or FAIL; `trial` is Optuna's number; `config` is canonical JSON;
    `retry_of` is the failed trial that this one repeats.

    Args:
        parameters: the type of each searched parameter by its path; its column is PARAMETER and the path,
            null in the trials where the parameter is not active.
    """
    return _schema(
        "trials",
        "arm trial",
        _fields(_TEXT, "arm"),
        _fields(_INT, "trial"),
        _fields(_TEXT, "state"),
        _fields(_INT, "attempts iterations budget"),
        _fields(_REAL, "seconds gpu_seconds"),
        _fields(_TEXT, "config config_hash"),
        _fields(_TIME, "started ended"),
        _fields(_TEXT, "error host", nullable=True),
        _fields(_REAL, "peak_memory_mib best_miou_percent last_miou_percent", nullable=True),
        _fields(_INT, "best_iteration retry_of", nullable=True),
        [pa.field(PARAMETER + path, kind) for path, kind in parameters.items()],
    )


def parameters_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The searched parameters that are active in a row of the trials table, by path."""
    return {n.removeprefix(PARAMETER): v for n, v in row.items() if n.startswith(PARAMETER) and v is not None}


REPORTS = _schema(
    "reports",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration attempt"),
    _fields(_TIME, "time"),
    _fields(_REAL, "seconds"),
    _fields(_REAL, "miou_percent pixel_accuracy_percent loss learning_rate step_ms", nullable=True),
    _fields(pa.map_(_TEXT, _REAL), "metrics", nullable=True),
)
"""One row per report; `seconds` is the trial's age, `metrics` every other scalar by name."""

CLASS_IOU = _schema(
    "class_iou",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_TEXT, "class"),
    _fields(_REAL, "iou_percent", nullable=True),
)
"""One row per class of an evaluation; null where neither labels nor predictions have the class."""

MASK_SHARES = _schema(
    "mask_shares",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_TEXT, "mask class"),
    _fields(_INT, "valid_pixels"),
    _fields(_REAL, "kept_pixels share_percent"),
)
"""How much of a class the task loss let count in the steps since the report before; one row per class that had pixels.

`mask` is "tse" or "ohem", whose `kept_pixels` are pixels, or "tfe", where they are the sum of the pixels' weights and
`share_percent` their mean. Of the main head; uniform and focal have no rows.
"""

IMAGE_CONFUSION = _schema(
    "image_confusion",
    "arm trial evaluation iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial"),
    _fields(_TEXT, "evaluation"),
    _fields(_INT, "iteration"),
    _fields(_TEXT, "image class"),
    _fields(_INT, "true_positives false_positives false_negatives"),
)
"""Pixels of a class in an image, in a trial's evaluation `last` or `best`; never all zero."""

RESCORED = _schema(
    "rescored",
    "arm trial split",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial"),
    _fields(_TEXT, "split"),
    _fields(_INT, "iteration images"),
    _fields(_REAL, "miou_percent pixel_accuracy_percent"),
)
"""What the checkpoint of a trial scores on images that the search has not seen; written by `kdstudy rescore`."""

ENVIRONMENT = _schema(
    "environment",
    "session",
    _fields(_TEXT, "session"),
    _fields(_TIME, "started"),
    _fields(_TEXT, "host command python platform"),
    _fields(pa.map_(_TEXT, _TEXT), "packages"),
    _fields(pa.list_(_TEXT), "devices"),
    _fields(_INT, "cpus"),
    _fields(_REAL, "memory_mib"),
    _fields(_TEXT, "git_commit", nullable=True),
)
"""One row per start of the driver."""

SCHEMAS = {
    "trials": trials_schema({}),
    "reports": REPORTS,
    "class_iou": CLASS_IOU,
    "image_confusion": IMAGE_CONFUSION,
    "mask_shares": MASK_SHARES,
    "rescored": RESCORED,
    "environment": ENVIRONMENT,
}
"""The tables by name; `trials` has a column for each searched parameter too."""


def read(
    folder: Path,
    name: str,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    *,
    dictionary: Sequence[str] = (),
) -> pa.Table:
    """The rows of a table as they were appended; also while a study runs, and after a kill.

    Of the parts only those row groups and columns are read that `columns` and `where` need. A column of `SCHEMAS` that
    some file, or every one, does not have, because an older kdstudy wrote it, is null there.

    Args:
        folder: the folder of all tables of a study.
        name: the table.
        columns: which columns, in which order; all where None.
        where: which rows, over any columns of the table; all where None. What it leaves out is found fastest where each
            column has one condition, `isin` if need be; a chain of many `|` takes longer than to read more rows.
        dictionary: text columns of few values to give dictionary-encoded, four bytes a row; Arrow cannot sort by them.

    Raises:
        FileNotFoundError: there is no such table, or no file of it can be read.
        ValueError: no file has one of `columns` or of those that `where` names, or a newer kdstudy wrote the table.

    Warns:
        TableWarning: a torn tail or a damaged part was passed over; it names the file. Damage of what is not read is
            not seen.
    """
    place = folder / name
    if not place.is_dir():
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        raise FileNotFoundError(f"no table {name!r} in {folder}; there: {', '.join(there) or 'none'}")
    found = steady_read(place, Query(columns, where, dictionary), SCHEMAS.get(name, pa.schema([])))
    found.warn()
    if not found.loaded:
        raise FileNotFoundError(f"table {name!r} in {folder} has no readable file")
    table = concat(found.loaded.values()).unify_dictionaries()
    return table if columns is None else table.select(columns)


class TableWriter:
    """Appends rows to one table; the only process that does so.

    Rows whose key the table already holds are dropped: a resumed trial reports again what its dead
    driver had recorded. So all rows of one key come in one append, which stands whole or not at
    all.

    Args:
        folder: the folder of all tables of a study.
        schema: one of this module's; it names the table and its key.

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
        self._check_types([stored.schema for stored in found.loaded.values()])
        self._start(1 + max((file.last for file in list_files(self._place)), default=0))

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
        self._write(self._schema.serialize())
        unfinished.replace(path)

    def contains(self, key: tuple[Any, ...]) -> bool:
        """Whether the table has rows of this key."""
        return key in self._keys

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
        self._write(batch.serialize())
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

    def _write(self, message: pa.Buffer) -> None:
        try:
            if self._stream.write(message) != message.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException as error:
            self._stream.truncate(self._size)  # nothing behind a torn batch could be read
            if isinstance(error, OSError):
                error.filename = str(self._live.path)
            raise
        self._size += message.size
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _seal(self) -> None:
        """Goes on in a new live file first: what a part has replaced must not grow."""
        full = self._live
        self._stream.close()
        self._start(full.last + 1)
        table, _ = load_live(full.path)
        merge({full: table})

    def close(self) -> None:
        """Seals the live file and merges small parts."""
        if not self._stream.closed:
            self._stream.close()
            settle(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

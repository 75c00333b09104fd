"""`kdstudy export-table`: a study's tables as files for other programs: one Parquet, CSV or Arrow file a table.

A file has all rows of its table at this moment, and gets its name once it is whole. CSV has no maps and lists: they
become JSON text.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from analysis.studies.study import Study

ALL = "all"


def _write_csv(table: pa.Table, path: Path) -> None:
    for at, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            table = table.set_column(at, field.name, _as_json(table[field.name]))
    pyarrow.csv.write_csv(table, path)


def _as_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_map = pa.types.is_map(column.type)
    return pa.chunked_array(
        [[_json(value, is_map) for value in chunk.to_pylist()] for chunk in column.chunks], pa.string()
    )


def _json(value: list[Any] | None, is_map: bool) -> str | None:
    if value is None:
        return None
    return json.dumps({key: _finite(item) for key, item in value} if is_map else [_finite(item) for item in value])


def _finite(value: Any) -> Any:
    """JSON has no number that is not finite; such a one is its name: "nan", "inf"."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


FORMATS: dict[str, Callable[[pa.Table, Path], None]] = {
    "parquet": lambda table, path: pq.write_table(table, path, compression="zstd"),
    "csv": _write_csv,
    "arrow": lambda table, path: pyarrow.feather.write_feather(table, path, compression="uncompressed"),
}
"""How a table is written, by the format's name, which also ends the file's."""


def export_tables(study: Study, names: Sequence[str], form: str, out: Path) -> list[Path]:
    """Write tables of a study.

    Args:
        study: whose tables.
        names: of the tables; `ALL` for every one.
        form: one of `FORMATS`.
        out: folder for the files, made where there is none.

    Returns:
        The files, out/NAME.FORM.

    Raises:
        ValueError: no such table, or none at all; a file is there already; `out` is no folder.
    """
    there = study.table_names
    if not there:
        raise ValueError(f"a study must have tables to export, but {study.folder} has none yet; wait for a report")
    if unknown := [name for name in names if name not in (*there, ALL)]:
        raise ValueError(
            f"--table must be {ALL} or a table of {study.folder}, but got {', '.join(unknown)}; "
            f"there: {', '.join(there)}"
        )
    chosen = there if ALL in names else list(dict.fromkeys(names))
    files = [out / f"{name}.{form}" for name in chosen]
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder, but {out} is a file; name another")
    if present := [str(file) for file in files if file.exists()]:
        raise ValueError(f"--out must not hold the files already, but has {', '.join(present)}; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    for name, file in zip(chosen, files, strict=True):
        _write(_rows(study, name), file, FORMATS[form])
    return files


def _rows(study: Study, name: str) -> pa.Table:
    try:
        return study.table(name)
    except FileNotFoundError as damaged:
        raise ValueError(f"a table must have a readable file, but: {damaged}; name the others with --table") from None


def _write(table: pa.Table, file: Path, write: Callable[[pa.Table, Path], None]) -> None:
    unfinished = file.with_name(f"{file.name}.writing")
    try:
        write(table, unfinished)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)

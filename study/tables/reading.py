"""Reading a table while another process writes it: which files count, in which columns, and no further than asked."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from study.tables.files import DAMAGE, Scan, TableFile, check_version, concat, list_files, load_live, open_part, scan
from study.tables.live import read_schema
from study.tables.parts import Part, Query


def steady_read(place: Path, query: Query, known: pa.Schema) -> Scan[pa.Table]:
    """Reads while no file comes or goes: one listing may miss a live file and its part.

    Args:
        place: the table's folder.
        query: what to read of it.
        known: columns that the table has, null, even where no file has them.

    Raises:
        ValueError: the query names a column that there is not.
    """
    parts: dict[TableFile, Part] = {}
    tables: dict[TableFile, pa.Table] = {}  # parts never change: a next try has only the new ones to load
    for _ in range(100):
        files = list_files(place)
        schema = _common_schema(files, parts, known)
        _check_query(query, schema, place)
        if query.columns is not None and not query.columns:
            query = query._replace(columns=schema.names[:1])  # a table without columns has no rows
        found = scan(files, partial(_load, query=query, schema=schema, parts=parts, tables=tables))
        if list_files(place) == files:
            return found
    raise TimeoutError(f"{place} must rest to be read, but changed at each of 100 tries; try later")


def damage(place: Path) -> list[str]:
    """What of a table is damaged, a line for each file; parts are looked through where that is fast.

    Args:
        place: the table's folder.
    """
    for _ in range(100):
        files = list_files(place)
        found = scan(files, _look_through)
        if list_files(place) == files:
            return list(found.damage.values())
    return []  # whoever writes so much looks at it too


def _look_through(file: TableFile) -> tuple[None, int]:
    if file.live:
        return None, load_live(file.path)[1]
    part = open_part(file.path)
    if part.is_summed:
        part.verify()
    return None, 0


def _common_schema(files: Sequence[TableFile], parts: dict[TableFile, Part], known: pa.Schema) -> pa.Schema:
    """Every column that a readable file has, oldest file first, then those of `known` that none has."""
    schemas = []
    for file in sorted(files, key=lambda file: file.first):
        try:
            schemas.append(_schema(file, parts))
        except DAMAGE:
            continue  # `scan` names it
    common = pa.unify_schemas(schemas, promote_options="permissive") if schemas else known
    for name in known.names:
        if name not in common.names:
            common = common.append(known.field(name).with_nullable(True))
    return common


def _schema(file: TableFile, parts: dict[TableFile, Part]) -> pa.Schema:
    """A file's columns; `parts` gains the part that was opened for them."""
    if file.live:
        schema = read_schema(file.path)
        check_version(file.path, schema)
        return schema
    if file not in parts:
        parts[file] = open_part(file.path)
    return parts[file].schema


def _load(
    file: TableFile,
    query: Query,
    schema: pa.Schema,
    parts: dict[TableFile, Part],
    tables: dict[TableFile, pa.Table],
) -> tuple[pa.Table, int]:
    if file.live:
        table, torn = load_live(file.path)
        return query.answer(concat([schema.empty_table(), table])), torn
    if file not in tables:
        part = parts[file] if file in parts else open_part(file.path)
        tables[file] = part.read(query, schema)
    return tables[file], 0


def _check_query(query: Query, schema: pa.Schema, place: Path) -> None:
    named = [*(query.columns or ()), *query.dictionary]
    if unknown := [column for column in named if column not in schema.names]:
        raise ValueError(
            f"columns must be of table {place.name!r}, but got {', '.join(unknown)}; it has {', '.join(schema.names)}"
        )
    if query.where is None:
        return
    try:
        schema.empty_table().filter(query.where)
    except pa.ArrowException as fault:
        raise ValueError(
            f"where must fit the columns of table {place.name!r}, but: {str(fault).splitlines()[0]}; "
            f"it has {', '.join(schema.names)}"
        ) from None

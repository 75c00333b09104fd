"""A table as it stands at any moment: while a study runs, after it ended, and after a kill."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from study.tables.files import SCHEMA_VERSION as SCHEMA_VERSION
from study.tables.files import TableWarning as TableWarning
from study.tables.files import concat
from study.tables.parts import Query
from study.tables.reading import steady_read
from study.tables.schemas import SCHEMAS


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
        there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        raise FileNotFoundError(f"no table {name!r} in {folder}; there: {', '.join(there) or 'none'}")
    found = steady_read(place, Query(columns, where, dictionary), SCHEMAS.get(name, pa.schema([])))
    found.warn()
    if not found.loaded:
        raise FileNotFoundError(
            f"table {name!r} in {folder} has no readable file; kdstudy resume puts back what it can"
        )
    table = concat(found.loaded.values()).unify_dictionaries()
    return table if columns is None else table.select(columns)

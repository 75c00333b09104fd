"""The keys that a table holds, so packed that millions of them fit: a trial's iterations stand in one array.

A key is the values of a table's key columns. Its last one, where that is a whole number, is kept among those of the
same beginning, in order, as eight bytes; asking and adding take a search in one trial's, however long the table is.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

Key = tuple[Any, ...]


class Keys:
    """A set of keys.

    Args:
        schema: of the table.
        columns: the key's.
    """

    def __init__(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._counted = len(self._columns) > 1 and pa.types.is_integer(schema.field(self._columns[-1]).type)
        self._numbers: dict[Key, array[int]] = {}

    def __contains__(self, key: Key) -> bool:
        first, number = self._split(key)
        numbers = self._numbers.get(first, ())
        at = bisect_left(numbers, number)
        return at < len(numbers) and numbers[at] == number

    def numbers(self, first: Key) -> Sequence[int]:
        """The last parts, whole numbers in order, of the keys that begin with `first`."""
        return self._numbers.get(first, array("q"))

    def add(self, key: Key) -> None:
        """Add one key."""
        first, number = self._split(key)
        numbers = self._numbers.setdefault(first, array("q"))
        at = bisect_left(numbers, number)
        if at == len(numbers) or numbers[at] != number:
            numbers.insert(at, number)

    def add_all(self, rows: pa.Table) -> None:
        """Add the keys of all rows; a table's key columns are never null."""
        if not self._counted:
            # of some tables many rows have one key
            distinct = rows.group_by(self._columns).aggregate([])
            for key in zip(*(distinct[name].to_pylist() for name in self._columns), strict=True):
                self.add(key)
            return
        *first, last = self._columns
        for row in rows.group_by(first).aggregate([(last, "distinct")]).to_pylist():
            key = tuple(row[name] for name in first)
            known = self._numbers.get(key, ())
            self._numbers[key] = array("q", sorted({*known, *row[f"{last}_distinct"]}))

    def _split(self, key: Key) -> tuple[Key, int]:
        return (key[:-1], key[-1]) if self._counted else (key, 0)

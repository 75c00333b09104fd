"""What answers look like on a terminal: lines as they are, and tables of a name and numbers."""

import sys

from rich.console import Console
from rich.table import Table

WIDTH = 130
"""Columns where standard output is no terminal."""


def wide() -> Console:
    """Standard output, with room for a table where nobody sees its width."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(console: Console, line: str) -> None:
    """Print a line as it is; the terminal breaks it."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def numbers(first: str, *others: str) -> Table:
    """An empty table of a name and columns of numbers."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table

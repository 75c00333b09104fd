"""What answers look like on a terminal: lines as they are, and tables of a name and numbers."""

import sys

from rich.console import Console
from rich.table import Table

WIDTH = 130
"""Columns where standard output is no terminal."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line that a reader such as `head` has enough; Rich would end with exit code 1."""
        raise BrokenPipeError


def wide() -> Console:
    """Standard output, with space for a table where nobody sees its width."""
    return _Output(width=None if sys.stdout.isatty() else WIDTH)


def say(console: Console, line: str) -> None:
    """Print a line: broken between words on a terminal, as it is elsewhere."""
    console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def numbers(first: str, *others: str) -> Table:
    """An empty table of a name and columns of numbers, whose headings are broken between words where it is narrow."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right", min_width=max(map(len, name.split()), default=0))
    return table

"""What a report consists of: sections of sentences, figures, tables and commands. Nothing here knows HTML."""

from dataclasses import dataclass

import pyarrow as pa

from analysis.figures.drawing import Drawing


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers of a report, also written as files.

    Attributes:
        name: of its files, without a suffix.
        caption: what it holds, as a sentence.
        rows: its columns are named as they are shown, with their units.
    """

    name: str
    caption: str
    rows: pa.Table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        key: names it in links.
        title: its heading.
        text: sentences before everything else, each a paragraph.
        lists: of sentences, each with what it is a list of.
        drawings: rows of figures: one that is alone in its row is as wide as the page, several stand side by side.
        notes: sentences right below the figures, on how these are read.
        tables: below the figures.
        commands: to be copied, each with what it does.
        verbatim: longer texts by their heading, folded.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    drawings: tuple[tuple[Drawing, ...], ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    verbatim: tuple[tuple[str, str], ...] = ()

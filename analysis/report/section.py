"""What a report consists of: sections of sentences, figures, tables and commands. Nothing here knows HTML."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import plotly.graph_objects as go
import pyarrow as pa

from analysis.figures.drawing import Drawing, NoFigure

COST, SPENT = "cost, whole trials", "spent, whole trials"
"""Columns that stand beside scores in every table: what one run cost, and what all trials of an arm did."""
COSTS = {
    COST: "iterations of a run at the price of its arm, in whole trials of the plain student; of several runs the mean",
    SPENT: "iterations of all trials of the arm that did not fail, at its price, in whole trials of the plain student",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers of a report, also written as files.

    Attributes:
        name: of its files, without a suffix.
        caption: what it holds, as a sentence.
        rows: its columns are named as they are shown, with their units.
        legend: what a column means whose name does not say it, by that name.
        folded: behind its caption, however short it is.
    """

    name: str
    caption: str
    rows: pa.Table
    legend: Mapping[str, str] = field(default_factory=dict)
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture in a report.

    Attributes:
        caption: what it shows, below it; also read out to who cannot see it.
        content: of a PNG or JPEG file.
    """

    caption: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Pictures of one thing, side by side; one that is alone is as wide as the page.

    Attributes:
        heading: what it is, and why it is here.
        images: from left to right.
    """

    heading: str
    images: tuple[Image, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        key: names it in links.
        title: its heading.
        facts: what and its value, in a few words each.
        text: sentences before everything below, each a paragraph.
        lists: of sentences, each with what it is a list of, folded.
        drawings: rows of figures: one that is alone in its row is as wide as the page, several stand side by side.
        panels: of pictures, below the figures.
        swatches: what the colours of the pictures mean, each a colour in CSS and its meaning; by what they are of.
        notes: how to read figures and pictures, below them.
        answer: the sentence that the figures come to; "" where there is none.
        tables: below the figures.
        commands: to be copied, each with what it does.
        verbatim: longer texts by their heading, folded.
    """

    key: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    drawings: tuple[tuple[Drawing, ...], ...] = ()
    panels: tuple[Panel, ...] = ()
    swatches: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    notes: tuple[str, ...] = ()
    answer: str = ""
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    verbatim: tuple[tuple[str, str], ...] = ()

    @property
    def has_evidence(self) -> bool:
        """Whether there is more in it than sentences on why there is nothing."""
        drawn = any(isinstance(drawing, go.Figure) for row in self.drawings for drawing in row)
        written = self.facts or self.lists or self.tables or self.commands or self.verbatim
        return bool(written or self.panels or drawn)


def reason(section: Section) -> str:
    """Why there is nothing in a section, in a sentence; "" where it does not say."""
    drawn = (drawing.reason for row in section.drawings for drawing in row if isinstance(drawing, NoFigure))
    return next(drawn, next(iter(section.text), ""))

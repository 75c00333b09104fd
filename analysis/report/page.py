"""A report as one HTML file that needs nothing else: plotly.js, styles and figures lie in it, once each."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from analysis.figures.drawing import Drawing
from analysis.report.files import cells, is_number
from analysis.report.section import Section

ROWS = 60
"""Rows of a table that the page shows; its files hold them all."""
OPEN = 26
"""Rows up to which a table is not folded."""
LONG_NAME = 16
"""Letters of a first cell from which the first column is kept wide on a narrow screen, and not broken at each word."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """The sections of one study.

    Attributes:
        key: names it in links.
        title: the study's name.
        folder: where it lies.
        sections: in the order of the page.
        left_out: titles of sections without evidence, each with the reason.
    """

    key: str
    title: str
    folder: str
    sections: Sequence[Section]
    left_out: Sequence[tuple[str, str]] = ()


def render(title: str, chapters: Sequence[Chapter], tables: Path) -> str:
    """The page.

    Args:
        title: of the page.
        chapters: one for each study, and one before them where there are several.
        tables: the folder of the tables, as the page names it.
    """
    place = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    place.globals |= {"data": _data, "cells": cells, "is_number": is_number, "heading": heading, "is_drawn": is_drawn}
    place.globals |= {"breakable": breakable, "data_url": data_url, "open": OPEN, "has_long_names": has_long_names}
    script = Markup(get_plotlyjs())
    page = place.get_template("report.html")
    return page.render(title=title, chapters=chapters, tables=tables, plotly=script, rows=ROWS)


def is_drawn(drawing: Drawing) -> bool:
    """Whether there is a figure, and not a reason for none."""
    return isinstance(drawing, go.Figure)


def heading(figure: go.Figure) -> str:
    """The sentence above a figure."""
    return str(figure.layout.title.text)


def breakable(name: str) -> Markup:
    """The name of a column, which may go on in a new line inside a path."""
    return Markup(re.sub("([/_])", r"\1<wbr>", str(escape(name))))


def has_long_names(lines: Sequence[Sequence[str]]) -> bool:
    """Whether a first cell of a table is long."""
    return any(len(line[0]) >= LONG_NAME for line in lines)


def data_url(image: bytes) -> str:
    """A PNG or JPEG file as the address of an image that lies in the page."""
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(image).decode()}"


def _data(figure: go.Figure) -> Markup:
    """A figure as JSON for a script element, without its title, which the page sets as a heading."""
    drawn = figure.to_dict()
    del drawn["layout"]["title"]
    # no text in a figure may end the element that it stands in
    return Markup(str(to_json(drawn, validate=False)).replace("<", "\\u003c"))

"""How figures look: one palette that colour-blind readers can tell apart, one template, marks for the states of trials.

A figure's title is a sentence that says what it shows; its axes have units. The page takes the title out and sets it as
a heading, because a heading wraps on a phone and a title inside a figure does not.
"""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00", "#000000")
"""Okabe and Ito, "Color universal design" (2008); its yellow is darkened, to be seen on white."""
TEACHER_GREY = "#6B6B6B"
TEXT, GRID = "#1F2328", "#E3E6EA"
SEQUENTIAL, DIVERGING = "Cividis", "RdBu"

STATES = {"COMPLETE": "circle", "PRUNED": "circle-open", "FAIL": "x"}
"""The mark of a trial's state in figures."""

MIOU = "mIoU (%)"
MANY = len(OKABE_ITO)
"""Arms beyond which colours repeat, and a legend of all takes the space of a figure that is not as wide as the page."""

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": TEXT},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": list(OKABE_ITO),
        "margin": {"l": 60, "r": 16, "t": 16, "b": 52},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "xanchor": "left"},
        "xaxis": {"gridcolor": GRID, "linecolor": "#8C959F", "ticks": "outside", "zeroline": False, "automargin": True},
        "yaxis": {"gridcolor": GRID, "linecolor": "#8C959F", "ticks": "outside", "zeroline": False, "automargin": True},
        "hoverlabel": {"align": "left"},
    }
)


def figure(title: str, x: str, y: str, *, height: int = 380, **layout: Any) -> go.Figure:
    """An empty figure in the house style.

    Args:
        title: a sentence that says what is shown.
        x: title of the horizontal axis, with its unit.
        y: title of the vertical axis, with its unit.
        height: in CSS pixels; the width is the page's.
        **layout: more of plotly's layout.
    """
    return go.Figure(
        layout={
            "template": TEMPLATE,
            "title": {"text": title},
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
            "height": height,
            **layout,
        }
    )


def arm_colours(arms: Iterable[str]) -> Mapping[str, str]:
    """A colour for each arm, in their order; beyond eight arms colours come again."""
    return dict(zip(arms, cycle(OKABE_ITO), strict=False))


def rgb(colour: Iterable[int]) -> str:
    """A colour of three bytes as CSS writes it."""
    return f"rgb({', '.join(str(int(part)) for part in colour)})"


def faint(colour: str) -> str:
    """A colour written as #RRGGBB, through which what lies behind it is seen: of a band around a line."""
    red, green, blue = (int(colour.lstrip("#")[place : place + 2], 16) for place in (0, 2, 4))
    return f"rgba({red}, {green}, {blue}, 0.15)"

"""Figures: pure functions of Arrow tables. Each gives a plotly figure, or says why there is nothing to draw.

None holds more than a few thousand points: of more, a sample is drawn with a fixed seed, and the figure says so.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import plotly.graph_objects as go

T = TypeVar("T")

POINTS = 3000
"""Points of a figure, about: more are neither seen nor carried by a page well."""


@dataclass(frozen=True)
class NoFigure:
    """Nothing to draw, and why, as a sentence."""

    reason: str


Drawing = go.Figure | NoFigure


def dot(points: int) -> dict[str, float]:
    """Size and opacity of the marks in a figure of so many."""
    return {"size": 8, "opacity": 1.0} if points <= 300 else {"size": 5, "opacity": 0.6}


def thinned(points: Sequence[T], most: int) -> list[T]:
    """Of many points at equal distances at most `most`, and the last."""
    step = -(-len(points) // most)
    return [*points[:-1:step], points[-1]] if points else []


def sample(items: Sequence[T], size: int, seed: int = 0) -> list[T]:
    """At most `size` of the items, in their order, the same ones each time."""
    if len(items) <= size:
        return list(items)
    kept = sorted(random.Random(seed).sample(range(len(items)), size))
    return [items[position] for position in kept]


def sampled(shown: int, of: int, what: str) -> str:
    """How a title says that it shows a sample; empty where it shows all."""
    return f" ({shown:,} of {of:,} {what}, drawn at random)" if shown < of else ""

"""What a figure gives: something drawn, or why there is nothing to draw; and how large its marks are."""

from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class NoFigure:
    """Nothing to draw, and why, as a sentence."""

    reason: str


Drawing = go.Figure | NoFigure


def dot(points: int) -> dict[str, float]:
    """Size and opacity of the marks in a figure of so many."""
    return {"size": 8, "opacity": 1.0} if points <= 300 else {"size": 5, "opacity": 0.6}

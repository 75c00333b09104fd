"""The figure that answers at a glance: how far each arm lies from the baseline, how sure that is, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import TEXT, figure

ROW = 34
"""Height of a line, in CSS pixels."""
SPEND_FROM = 0.80
"""Where the narrow column of spends begins, as a share of the width."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting against the baseline.

    Attributes:
        name: of the setting.
        arm: whose it is, for its colour.
        points: mIoU minus the baseline's, in percentage points.
        low: end of the simultaneous interval; None where there is none.
        high: the other end.
        by_seed: the same difference of each seed.
        detectable: the smallest difference, in points, that the interval could have shown; None where unknown.
        spent: what the arm's search cost, in whole trials of the plain student; None where unknown.
    """

    name: str
    arm: str
    points: float
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]
    detectable: float | None
    spent: float | None


def differences(found: Sequence[Difference], baseline: str, colours: Mapping[str, str]) -> Drawing:
    """Every arm's difference to the baseline with its interval and seeds, and beside it what the arm spent.

    Args:
        found: one line each, from top to bottom.
        baseline: the name of what they are held against.
        colours: of the arms.
    """
    if not found:
        return NoFigure("No finished setting can be held against a finished baseline, so there is nothing to compare.")
    title = f"Points of mIoU over {baseline}: dots are means, bars simultaneous intervals, small dots single seeds"
    drawn = figure(title, "points of mIoU", "", height=110 + ROW * len(found), showlegend=False)
    _band(drawn, found)
    drawn.add_vline(x=0, line={"color": TEXT, "width": 1})
    for one in found:
        _line(drawn, one, colours[one.arm])
    with_spend = any(one.spent is not None for one in found)
    if with_spend:
        _spends(drawn, found, colours)
    drawn.update_layout(
        xaxis={"domain": [0, SPEND_FROM - 0.05 if with_spend else 1]}, margin={"t": 12, "l": 90}, bargap=0.55
    )
    return drawn.update_yaxes(autorange="reversed", type="category", showgrid=False)


def _band(drawn: go.Figure, found: Sequence[Difference]) -> None:
    """What lies within it, so few seeds could not have shown."""
    reach = max((one.detectable for one in found if one.detectable is not None), default=None)
    if reach is not None:
        drawn.add_vrect(x0=-reach, x1=reach, fillcolor="#8C959F", opacity=0.15, line_width=0, layer="below")


def _line(drawn: go.Figure, one: Difference, colour: str) -> None:
    name = escape(one.name)
    if one.by_seed:
        seeds = {"size": 5, "opacity": 0.5, "color": colour}
        drawn.add_scatter(
            x=list(one.by_seed), y=[name] * len(one.by_seed), mode="markers", marker=seeds, hovertemplate=SEED_HOVER
        )
    sure = one.low is not None and one.high is not None
    bars = {"type": "data", "symmetric": False, "thickness": 2, "width": 5, "color": colour}
    if one.low is not None and one.high is not None:
        bars |= {"array": [one.high - one.points], "arrayminus": [one.points - one.low]}
    drawn.add_scatter(
        x=[one.points],
        y=[name],
        mode="markers",
        marker={"size": 11, "color": colour, "symbol": "circle" if sure else "circle-open"},
        error_x=bars if sure else None,
        hovertemplate=f"{name}: %{{x:+.2f}} points{_ends(one)}<extra></extra>",
    )


SEED_HOVER = "one seed: %{x:+.2f} points<extra></extra>"


def _ends(one: Difference) -> str:
    return "" if one.low is None or one.high is None else f" [{one.low:+.2f}, {one.high:+.2f}]"


def _spends(drawn: go.Figure, found: Sequence[Difference], colours: Mapping[str, str]) -> None:
    drawn.add_bar(
        x=[one.spent for one in found],
        y=[escape(one.name) for one in found],
        orientation="h",
        xaxis="x2",
        marker={"color": [colours[one.arm] for one in found], "opacity": 0.6},
        text=["" if one.spent is None else f"{one.spent:.1f}" for one in found],
        textposition="auto",
        hovertemplate="%{y}: %{x:.2f} whole trials of the plain student<extra></extra>",
    )
    most = max(one.spent for one in found if one.spent is not None)
    drawn.update_layout(
        xaxis2={"domain": [SPEND_FROM, 1], "anchor": "y", "title": {"text": "spent"}, "range": [0, most * 1.05]}
    )

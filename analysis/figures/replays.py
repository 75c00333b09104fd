"""The figure of replays: what each schedule saves, and what it loses."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import figure
from analysis.replay.replay import ArmReplay, Bounds

SYMBOLS = {"none": "circle-open", "halving": "circle", "hyperband": "square", "median": "diamond"}


def replays(arms: Sequence[ArmReplay], colours: Mapping[str, str]) -> Drawing:
    """Regret against the cost that is saved, of each arm under each schedule; bounds are bars.

    Args:
        arms: the replays.
        colours: of the arms.
    """
    drawable = [arm for arm in arms if arm.regret.high is not None]
    if not drawable:
        why = "no arm has a finished trial that a schedule surely keeps" if arms else "there is nothing to replay"
        return NoFigure(f"There is no regret to draw: {why}.")
    unit = "whole trials of the plain student" if all(arm.priced for arm in drawable) else "iterations"
    drawn = figure("Regret of each schedule, and what it saves", f"saved ({unit})", "regret (points of mIoU)")
    for arm in drawable:
        drawn.add_trace(_mark(arm, colours.get(arm.arm, "#444")))
    return drawn


def _mark(arm: ArmReplay, colour: str) -> go.Scatter:
    x, x_bar = _middle(arm.saved)
    y, y_bar = _middle(arm.regret)
    return go.Scatter(
        x=[x],
        y=[y],
        error_x={"type": "data", "array": [x_bar], "visible": x_bar > 0},
        error_y={"type": "data", "array": [y_bar], "visible": y_bar > 0},
        mode="markers",
        name=f"{arm.arm}, {arm.schedule}",
        marker={"color": colour, "symbol": SYMBOLS[arm.schedule.kind], "size": 9},
        hovertemplate=f"{arm.arm}, {arm.schedule}<br>saved {arm.saved}, regret {arm.regret}<extra></extra>",
    )


def _middle(bounds: Bounds) -> tuple[float, float]:
    """The middle of two bounds and half their distance; without a lower one the upper, as a mark."""
    assert bounds.high is not None
    low = bounds.high if bounds.low is None else bounds.low
    return (low + bounds.high) / 2, (bounds.high - low) / 2

"""The figure of tuning curves."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import MIOU, faint, figure
from analysis.tuning_curves.curves import ArmCurve, Expectation, Path

COST = "spent by the arm (whole trials of the plain student)"


def tuning_curves(curves: Sequence[ArmCurve], colours: Mapping[str, str]) -> Drawing:
    """The best mIoU found against what the search had spent, of each arm.

    Args:
        curves: of the arms.
        colours: of them.
    """
    if not any(curve.path for curve in curves):
        missing = [line for curve in curves for line in curve.missing] or ["no arm that searches has an ended trial"]
        return NoFigure(f"There is no tuning curve: {'; '.join(missing)}.")
    drawn = figure("Best mIoU found against what the search had spent", COST, MIOU)
    for curve in curves:
        colour = colours.get(curve.arm, "#444")
        if curve.expectation is not None:
            drawn.add_traces(_band(curve.arm, curve.expectation, colour))
        if curve.path is not None:
            drawn.add_trace(_path(curve.arm, curve.path, colour))
    return drawn


def _path(arm: str, path: Path, colour: str) -> go.Scatter:
    """Steps, held to the end of the search."""
    return go.Scatter(
        x=[*path.cost, path.spent],
        y=[*path.miou_percent, path.miou_percent[-1]],
        mode="lines+markers" if len(path.cost) == 1 else "lines",
        name=arm,
        legendgroup=arm,
        line={"color": colour, "width": 2.5, "shape": "hv"},
        text=[f"{arm} {trial}" for trial in (*path.trial, path.trial[-1])],
        hovertemplate="%{text}<br>within %{x:.2f}: %{y:.2f} %<extra></extra>",
    )


def _band(arm: str, found: Expectation, colour: str) -> list[go.Scatter]:
    shared = {"x": found.cost, "legendgroup": arm, "mode": "lines", "hoverinfo": "skip"}
    edge = {"color": colour, "width": 0}
    return [
        go.Scatter(y=found.low, line=edge, showlegend=False, **shared),
        go.Scatter(y=found.high, line=edge, fill="tonexty", fillcolor=faint(colour), showlegend=False, **shared),
        go.Scatter(
            y=found.mean, line={"color": colour, "width": 1.5, "dash": "dash"}, name=f"{arm}, expected", **shared
        ),
    ]

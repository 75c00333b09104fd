"""The contour of RDD's two main parameters, its threshold t and its TFE fraction."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import MIOU, SEQUENTIAL, STATES, figure
from analysis.sampling import sample
from analysis.studies.parameters import values, varies
from analysis.studies.study import PARAMETER

MARKS = 200
"""Trials of a state that are marked."""
THRESHOLD, FRACTION = "task/threshold", "task/tfe_fraction"
Array = NDArray[np.float64]


def contour(trials: pa.Table, objective: str) -> Drawing:
    """mIoU over RDD's threshold t and its TFE fraction, interpolated between the finished trials, which are marked."""
    columns = [PARAMETER + THRESHOLD, PARAMETER + FRACTION]
    if not set(columns) <= set(trials.column_names):
        return NoFigure("No arm searches both RDD's threshold t and its TFE fraction, so there is no contour to draw.")
    t_given, fraction_given, scored = (pc.field(column).is_valid() for column in (*columns, objective))
    both = trials.filter(t_given & fraction_given & scored)
    finished = both.filter(pc.field("state") == "COMPLETE")
    t, fraction = (values(finished, path) for path in (THRESHOLD, FRACTION))
    if finished.num_rows < 3 or not (varies(t) and varies(fraction)):
        return NoFigure(f"A contour of t and TFE fraction needs three finished trials that differ in both, but "
                        f"{finished.num_rows} finished with a TSE stage.")  # fmt: skip
    drawn = figure(
        f"mIoU of {finished.num_rows} finished trials over t and TFE fraction; between the points it is interpolated",
        "threshold t (confidence)",
        "TFE fraction (share of the iterations)",
        height=420,
    )
    drawn.add_trace(_surface(np.array(t), np.array(fraction), np.array(finished[objective].to_pylist())))
    return drawn.add_traces(_marks(both, objective))


def _surface(t: Array, fraction: Array, miou: Array) -> go.Contour:
    x, y = (np.linspace(axis.min(), axis.max(), 40) for axis in (t, fraction))
    return go.Contour(
        x=x,
        y=y,
        z=_interpolated(x, y, t, fraction, miou),
        colorscale=SEQUENTIAL,
        contours={"coloring": "heatmap"},
        line={"width": 0.5, "color": "white"},
        colorbar={"title": {"text": MIOU, "side": "right"}, "thickness": 14},
        hoverinfo="skip",
    )


def _interpolated(x: Array, y: Array, t: Array, fraction: Array, miou: Array) -> Array:
    """By inverse distances over both axes, scaled to their range: exact at trials, never beyond the extremes."""
    gx, gy = np.meshgrid(x, y)
    across = (gx[..., None] - t) / np.ptp(t)
    along = (gy[..., None] - fraction) / np.ptp(fraction)
    weights = 1.0 / (across**2 + along**2 + 1e-6)
    surface: Array = (weights * miou).sum(-1) / weights.sum(-1)
    return surface


def _marks(trials: pa.Table, objective: str) -> Sequence[go.Scatter]:
    marks = []
    for state, symbol in STATES.items():
        rows = sample(trials.filter(pc.field("state") == state).to_pylist(), MARKS)
        if rows:
            mark = {
                "symbol": symbol,
                "size": 9 if trials.num_rows <= MARKS else 5,
                "color": "#D55E00",
                "line": {"color": "white", "width": 1},
            }
            if state == "PRUNED":
                mark["line"] = {"color": "#D55E00", "width": 1.5}
            marks.append(
                go.Scatter(
                    x=[row[PARAMETER + THRESHOLD] for row in rows],
                    y=[row[PARAMETER + FRACTION] for row in rows],
                    mode="markers",
                    name=state,
                    marker=mark,
                    text=[f"{row['arm']} {row['trial']}: {row[objective]:.2f} %" for row in rows],
                    hovertemplate="%{text}, t %{x:.3f}, TFE fraction %{y}<extra></extra>",
                )
            )
    return marks

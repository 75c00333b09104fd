"""The figure of a Pareto front."""

from collections.abc import Mapping

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.drawing import Drawing, NoFigure, dot
from analysis.figures.style import TEXT, figure
from analysis.pareto.front import front
from analysis.pareto.fronts import Front
from study.measures import AXES, MIOU


def pareto_front(one: Front, cost: str, objective: str, colours: Mapping[str, str]) -> Drawing:
    """Trials by mIoU and one cost, and the front of these two.

    Args:
        one: a front that has this cost.
        cost: of it.
        objective: the column of mIoU.
        colours: of the arms.
    """
    if one.trivial is not None:
        return NoFigure(f"There is no front to draw: {one.trivial}.")
    drawn = figure(f"mIoU against {AXES[cost]}", AXES[cost], AXES[MIOU])
    ordered = front(one.candidates, {objective: True, cost: False}).sort_by(cost)
    drawn.add_trace(_line(ordered, cost, objective, end=pc.max(one.candidates[cost]).as_py()))
    for arm in dict.fromkeys(one.candidates["arm"].to_pylist()):
        mine = one.candidates.filter(pc.field("arm") == arm)
        drawn.add_trace(_marks(arm, mine, cost, objective, colours.get(arm, TEXT)))
    return drawn


def _line(ordered: pa.Table, cost: str, objective: str, end: float) -> go.Scatter:
    """Steps: the best mIoU within each cost, held to the highest cost of any trial."""
    x, y = (ordered[name].to_pylist() for name in (cost, objective))
    return go.Scatter(
        x=[*x, end],
        y=[*y, y[-1]],
        mode="lines",
        name="front",
        line={"color": TEXT, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )


def _marks(arm: str, mine: pa.Table, cost: str, objective: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=mine[cost].to_pylist(),
        y=mine[objective].to_pylist(),
        mode="markers",
        name=arm,
        marker={"color": colour, **dot(mine.num_rows)},
        text=[f"{arm} {trial}" for trial in mine["trial"].to_pylist()],
        hovertemplate="%{text}<br>%{x:.4g}, %{y:.2f} %<extra></extra>",
    )

"""Figures that hold arms against each other: IoU of each class, importance of parameters, cost."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import DIVERGING, SEQUENTIAL, STATES, figure
from analysis.importance import Importance
from analysis.studies.parameters import label

ClassIoU = Mapping[str, Mapping[str, float | None]]
"""IoU in % by class, for each row of a comparison by its name."""


def class_heat_map(ious: ClassIoU, colours: Mapping[str, str]) -> Drawing:
    """IoU of every class, one column for each compared network.

    Args:
        ious: the columns.
        colours: of the classes, in their order.
    """
    if not ious:
        return NoFigure("No finished trial has IoUs of classes, so there is no comparison by class.")
    columns = list(ious)
    z = _matrix(ious, list(colours))
    drawn = figure("IoU of every class (%): the best trial of each arm, and the teacher", "", "", **_size(colours))
    return _heat_map(drawn, z, columns, colours, colorscale=SEQUENTIAL, zmin=0, zmax=100, texttemplate="%{z:.1f}")


def class_differences(ious: ClassIoU, baseline: str, colours: Mapping[str, str]) -> Drawing:
    """IoU of every class minus the baseline's.

    Args:
        ious: as above.
        baseline: the column that is subtracted.
        colours: of the classes, in their order.
    """
    others = [name for name in ious if name != baseline]
    if baseline not in ious or not others:
        return NoFigure("Differences by class need a finished trial of a baseline, and another arm or a teacher.")
    z = _matrix({name: ious[name] for name in others}, list(colours))
    z -= _matrix({baseline: ious[baseline]}, list(colours))
    reach = float(np.nanmax(np.abs(z), initial=1.0))
    drawn = figure(f"IoU of every class minus that of {baseline} (points)", "", "", **_size(colours))
    style = {"colorscale": DIVERGING, "zmin": -reach, "zmax": reach, "texttemplate": "%{z:+.1f}"}
    return _heat_map(drawn, z, others, colours, **style)


def _matrix(ious: ClassIoU, classes: Sequence[str]) -> np.ndarray:
    cells = [[found.get(name) for found in ious.values()] for name in classes]
    return np.array([[np.nan if cell is None else cell for cell in row] for row in cells], dtype=float)


def _size(classes: Mapping[str, str]) -> dict[str, int]:
    return {"height": 70 + 26 * len(classes)}


def _heat_map(
    drawn: go.Figure, z: np.ndarray, columns: Sequence[str], colours: Mapping[str, str], **style: object
) -> go.Figure:
    names = [f"<span style='color:{colour}'>■</span> {escape(name)}" for name, colour in colours.items()]
    cells = {"hovertemplate": "%{y}, %{x}: %{z:.2f}<extra></extra>", "hoverongaps": False, "xgap": 2, "ygap": 1}
    bar = {"thickness": 12}
    drawn.add_trace(go.Heatmap(z=z, x=[_broken(name) for name in columns], y=names, colorbar=bar, **cells, **style))
    drawn.update_layout(margin={"t": 48, "b": 12})
    return drawn.update_yaxes(autorange="reversed", showgrid=False).update_xaxes(side="top", showgrid=False)


def _broken(name: str) -> str:
    """Over two lines where it has two words: columns are narrow."""
    return escape(name).replace(" ", "<br>")


def importances(found: Importance, colour: str) -> Drawing:
    """Shares of an arm's parameters."""
    if found.reason:
        return NoFigure(found.reason)
    title = (
        f"{found.arm}: what decided whether a trial is in the best quarter at iteration {found.iteration}, "
        f"of {found.trials} trials"
    )
    drawn = figure(title, "share (%)", "", height=110 + 34 * len(found.shares))
    paths = list(found.shares)
    shares = [100 * found.shares[path] for path in paths]
    drawn.add_trace(
        go.Bar(
            x=shares,
            y=[label(path) for path in paths],
            orientation="h",
            marker={"color": colour},
            texttemplate="%{x:.0f} %",
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    )
    return drawn.update_yaxes(autorange="reversed", showgrid=False).update_xaxes(range=[0, 100])


def costs(cost: pa.Table, column: str, unit: str) -> Drawing:
    """What trials cost, by arm and state.

    Args:
        cost: arm, state and `column`.
        column: seconds or gpu_seconds.
        unit: what its axis is called.
    """
    if not (pc.sum(cost[column]).as_py() or 0.0):
        return NoFigure(f"No {unit} were used.")
    drawn = figure(f"{unit[0].upper()}{unit[1:]} of each arm, by how its trials ended", f"{unit} (s)", "")
    shades = {"COMPLETE": "#0072B2", "PRUNED": "#56B4E9", "FAIL": "#D55E00"}
    for state in STATES:
        here = cost.filter(pc.field("state") == state)
        if here:
            hover = "%{y}, " + state + ": %{x:.0f} s<extra></extra>"
            bar = {"orientation": "h", "marker": {"color": shades[state]}, "hovertemplate": hover}
            drawn.add_trace(go.Bar(x=here[column].to_pylist(), y=here["arm"].to_pylist(), name=state, **bar))
    arms = len(set(cost["arm"].to_pylist()))
    drawn.update_layout(barmode="stack", height=150 + 34 * arms)
    return drawn.update_yaxes(autorange="reversed", showgrid=False)

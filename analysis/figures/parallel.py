"""Parallel coordinates of an arm: each trial a line through its settings to its mIoU.

Drawn as plain lines and not by plotly's own kind of it, which needs one WebGL context an arm; browsers give sixteen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from plotly.colors import sample_colorscale

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import GRID, SEQUENTIAL, figure
from analysis.sampling import sample, sampled
from analysis.studies.parameters import kind, label, searched, values, varies, written

LINES = 300
SHADES = 10
OFF = -0.12
"""Where a line passes the axis of a parameter that its trial does not have."""


@dataclass(frozen=True)
class Axis:
    """A vertical axis: its name, where each trial passes it, and its marks by height from 0 to 1."""

    name: str
    heights: Sequence[float]
    ticks: dict[float, str]


def parallel(trials: pa.Table, objective: str, arm: str) -> Drawing:
    """Every trial of an arm as a line through its settings to its mIoU.

    Args:
        trials: of all arms.
        objective: the column that the search maximised.
        arm: whose.
    """
    scored = trials.filter((pc.field("arm") == arm) & pc.field(objective).is_valid())
    paths = [path for path in searched(scored) if varies(values(scored, path))]
    if scored.num_rows < 2 or not paths:
        return NoFigure(
            f"{arm}: parallel coordinates need two trials with an evaluation and a parameter that varies; "
            f"there are {scored.num_rows} and {len(paths)}."
        )
    drawn_trials = scored.take(sample(range(scored.num_rows), LINES)).sort_by(objective)
    sampling = sampled(drawn_trials.num_rows, scored.num_rows, "trials")
    drawn = figure(f"{arm}: each line is a trial, from its settings to its mIoU{sampling}", "", "", height=340)
    scores = drawn_trials[objective].to_pylist()
    axes = [
        *(_axis(label(path), values(drawn_trials, path)) for path in paths),
        _axis("iterations", drawn_trials["iterations"].to_pylist()),
        _axis("mIoU (%)", scores),
    ]
    drawn.add_traces(_lines(axes, scores, drawn_trials.to_pylist()))
    return _with_axes(drawn, axes)


def _axis(name: str, found: list[Any]) -> Axis:
    scale = kind(found) if varies(found) else "category"
    places, ticks = _ranked(found) if scale == "category" else _measured(found, log=scale == "log")
    if None in found:
        ticks = {OFF: "off", **ticks}
    return Axis(name, [OFF if place is None else place for place in places], ticks)


def _ranked(found: list[Any]) -> tuple[list[float | None], dict[float, str]]:
    ordered = sorted({value for value in found if value is not None})
    height = {value: rank / (len(ordered) - 1) if len(ordered) > 1 else 0.5 for rank, value in enumerate(ordered)}
    return [height.get(value) for value in found], {place: written(value) for value, place in height.items()}


def _measured(found: list[Any], *, log: bool) -> tuple[list[float | None], dict[float, str]]:
    places = [None if value is None else math.log10(value) if log else float(value) for value in found]
    active = [place for place in places if place is not None]
    low, span = min(active), max(active) - min(active)
    ticks = {height: low + height * span for height in (0.0, 0.25, 0.5, 0.75, 1.0)}
    heights = [None if place is None else (place - low) / span for place in places]
    return heights, {height: written(float(10**tick if log else tick)) for height, tick in ticks.items()}


def _lines(axes: Sequence[Axis], scores: Sequence[float], rows: Sequence[dict[str, Any]]) -> list[go.Scatter]:
    """One trace for each shade; the lines in it are parted by gaps. The best are drawn last, on top."""
    low, span = min(scores), (max(scores) - min(scores)) or 1.0
    shades = sample_colorscale(SEQUENTIAL, np.linspace(0.05, 0.95, SHADES).tolist())
    shade_of = [min(int((score - low) / span * SHADES), SHADES - 1) for score in scores]
    traces = []
    for shade, colour in enumerate(shades):
        here = [n for n, mine in enumerate(shade_of) if mine == shade]
        x = [place for _ in here for place in (*range(len(axes)), None)]
        y = [height for n in here for height in (*(axis.heights[n] for axis in axes), None)]
        text = [_hover_text(rows[n], scores[n]) for n in here for _ in range(len(axes) + 1)]
        line = {"color": colour, "width": 1.0 + shade / SHADES}
        style = {"mode": "lines", "line": line, "showlegend": False, "hovertemplate": "%{text}<extra></extra>"}
        traces.append(go.Scatter(x=x, y=y, text=text, **style))
    return traces


def _hover_text(row: dict[str, Any], score: float) -> str:
    return f"{row['arm']} {row['trial']}: {score:.2f} %"


def _with_axes(drawn: go.Figure, axes: Sequence[Axis]) -> go.Figure:
    rule = {"type": "line", "y0": OFF, "y1": 1, "line": {"color": "#8C959F", "width": 1}, "layer": "below"}
    marks = [_mark(x, height, text) for x, axis in enumerate(axes) for height, text in axis.ticks.items()]
    names = {"tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes]}
    drawn.update_xaxes(range=[-0.15, len(axes) - 0.55], side="top", tickangle=-20, linecolor=GRID, ticks="", **names)
    drawn.update_xaxes(showgrid=False)
    drawn.update_yaxes(visible=False, range=[OFF - 0.05, 1.05])
    # all at once: plotly checks them anew at each one that is added
    drawn.update_layout(annotations=marks, shapes=[{**rule, "x0": x, "x1": x} for x in range(len(axes))])
    return drawn.update_layout(margin={"l": 16, "r": 40, "t": 76, "b": 16})


def _mark(x: float, height: float, text: str) -> dict[str, Any]:
    where = {"x": x, "y": height, "xanchor": "left", "xshift": 4, "showarrow": False}
    return {**where, "text": text, "font": {"size": 11}, "bgcolor": "rgba(255,255,255,0.75)", "borderpad": 1}

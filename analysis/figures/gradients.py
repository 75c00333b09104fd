"""Figures of gradient conflict: cosine and norm ratio of each distillation term with the task, over the iterations."""

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import OKABE_ITO, faint, figure

DASHES = {"tfe": "dot", "tfe-tse": "dashdot"}
"""How the line of a stage is dashed; others are solid."""


def cosines(courses: pa.Table, arm: str) -> Drawing:
    """The cosine of each term's gradient with the task's.

    Args:
        courses: of the arm, as of `analysis.gradients.courses`.
        arm: its name.
    """
    drawn = _drawn(courses, f"{arm}: cosine of each term's gradient with the task's", "cosine", "cosine")
    return drawn if isinstance(drawn, NoFigure) else drawn.add_hline(y=0, line={"color": "#8C959F", "width": 1})


def norm_ratios(courses: pa.Table, arm: str) -> Drawing:
    """The norm of each term's gradient over the task's; arguments as of `cosines`."""
    title, name = f"{arm}: norm of each term's gradient over the task's", "norm_ratio"
    drawn = _drawn(courses, title, name, "norm ratio (log scale)")
    if isinstance(drawn, NoFigure):
        return drawn
    lowest = pc.min(courses[f"{name}_low"]).as_py()
    return drawn.update_yaxes(type="log", dtick="D2") if lowest > 0 else drawn.update_yaxes(title="norm ratio")


def _drawn(courses: pa.Table, title: str, name: str, axis: str) -> go.Figure | NoFigure:
    there = courses.filter(pc.is_valid(courses[name]))
    if not there.num_rows:
        return NoFigure(f"{title}: no probe had both gradients.")
    drawn = figure(title, "iteration", axis, height=320)
    for (term, stage), colour in _lines(there).items():
        line = there.filter((pc.field("term") == term) & pc.equal(pc.coalesce(pc.field("stage"), pc.scalar("")), stage))
        drawn.add_traces(list(_traces(line, name, term, stage, colour)))
    return drawn


def _lines(courses: pa.Table) -> Mapping[tuple[str, str], str]:
    """The colour of each line: of its term, by term and stage."""
    terms = sorted(set(courses["term"].to_pylist()))
    colours = dict(zip(terms, cycle(OKABE_ITO), strict=False))
    lines = dict.fromkeys(zip(courses["term"].to_pylist(), courses["stage"].to_pylist(), strict=True))
    return {(term, stage or ""): colours[term] for term, stage in lines}


def _traces(line: pa.Table, name: str, term: str, stage: str, colour: str) -> Iterator[go.Scatter]:
    """A band, where there is more than one trial, and the median."""
    x, label = line["iteration"].to_pylist(), f"{term}, {stage}" if stage else term
    shared: dict[str, Any] = {"x": x, "legendgroup": label}
    if (pc.max(line["trials"]).as_py() or 0) > 1:
        edge = {**shared, "mode": "lines", "hoverinfo": "skip", "showlegend": False, "line": {"width": 0}}
        yield go.Scatter(y=line[f"{name}_low"].to_pylist(), **edge)
        yield go.Scatter(y=line[f"{name}_high"].to_pylist(), fill="tonexty", fillcolor=faint(colour), **edge)
    yield go.Scatter(
        y=line[name].to_pylist(),
        mode="lines+markers",
        name=label,
        line={"color": colour, "width": 2, "dash": DASHES.get(stage, "solid")},
        marker={"size": 5},
        customdata=line["trials"].to_pylist(),
        hovertemplate=f"{label}<br>iteration %{{x:.0f}}: %{{y:.3g}} (%{{customdata}} trials)<extra></extra>",
        **shared,
    )

"""Figures of a search: its history, and where in the space the good trials lie."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.drawing import Drawing, NoFigure, dot
from analysis.figures.style import MANY, MIOU, STATES, figure
from analysis.sampling import POINTS, sample, sampled
from analysis.studies.parameters import kind, label, searched, values, varies
from analysis.studies.study import PARAMETER

Rows = list[dict[str, Any]]


def history(trials: pa.Table, objective: str, colours: Mapping[str, str], *, kept: pc.Expression) -> Drawing:
    """mIoU of every trial in the order of the search, and the best finished one so far, of each arm.

    Args:
        trials: of all arms.
        objective: the column that the search maximised.
        colours: of the arms; they are drawn in this order.
        kept: holds for the trials that keep the search's bounds, which alone can be the best.
    """
    scored = trials.filter(pc.field(objective).is_valid())
    if not scored:
        return NoFigure("No trial has an evaluation yet, so there is no history to draw.")
    places = sample(range(scored.num_rows), POINTS)
    sampling = sampled(len(places), scored.num_rows, "trials")
    drawn = figure(
        f"Best finished trial so far of each arm, and every trial{sampling}", "trial of the arm (number)", MIOU
    )
    points, may_lead = scored.take(places), scored.filter(kept & (pc.field("state") == "COMPLETE"))
    for arm, colour in colours.items():
        last = max((row["trial"] for row in _rows(scored, arm)), default=0)
        drawn.add_traces(_best_so_far(_rows(may_lead, arm), last, objective, arm, colour))
        drawn.add_traces(_points(_rows(points, arm), "trial", objective, arm, colour, legend=False))
    drawn.add_traces(_state_legend(points))
    return drawn


def _rows(trials: pa.Table, arm: str) -> Rows:
    return list(trials.filter(pc.field("arm") == arm).sort_by("trial").to_pylist())


def _best_so_far(finished: Rows, last: int, objective: str, arm: str, colour: str) -> list[go.Scatter]:
    """A step at each finished trial that beats those before it, held to the arm's last trial."""
    best = list(accumulate((row[objective] for row in finished), max))
    steps = [(row["trial"], value) for n, (row, value) in enumerate(zip(finished, best, strict=True))
             if n == 0 or value > best[n - 1]]  # fmt: skip
    if not steps:
        return []
    steps.append((last, best[-1]))
    x, y = zip(*steps, strict=True)
    line = {"color": colour, "width": 2.5, "shape": "hv"}
    return [go.Scatter(x=x, y=y, mode="lines", name=arm, legendgroup=arm, line=line, hoverinfo="skip")]


def _points(rows: Rows, x: str, y: str, arm: str, colour: str, *, legend: bool) -> list[go.Scatter]:
    """One trace of marks for each state; several traces of an arm hide and show together."""
    traces: list[go.Scatter] = []
    for state, symbol in STATES.items():
        here = [row for row in rows if row["state"] == state and row[x] is not None]
        if here:
            traces.append(
                go.Scatter(
                    x=[_place(row[x]) for row in here],
                    y=[row[y] for row in here],
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, **dot(len(rows))},
                    name=arm,
                    legendgroup=arm,
                    showlegend=legend and not traces,
                    text=[_hover_text(row, state) for row in here],
                    hovertemplate="%{text}<br>%{y:.2f} %<extra></extra>",
                )
            )
    return traces


def _hover_text(row: dict[str, Any], ended: str) -> str:
    return f"{row['arm']} {row['trial']}, {ended}, {row['iterations']} iterations"


def _place(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value


def _state_legend(trials: pa.Table) -> list[go.Scatter]:
    there = set(trials["state"].to_pylist())
    return [
        go.Scatter(
            x=[None], y=[None], mode="markers", name=state, marker={"color": "#444", "symbol": symbol, "size": 8}
        )
        for state, symbol in STATES.items()
        if state in there
    ]


def slices(trials: pa.Table, objective: str, colours: Mapping[str, str]) -> list[Drawing]:
    """For each searched parameter a figure of mIoU against its value, every arm in its colour."""
    scored = trials.filter(pc.field(objective).is_valid())
    paths = searched(scored)
    if not paths:
        return [NoFigure("No trial with an evaluation has a searched parameter, so there are no slices to draw.")]
    return [_slice(scored, objective, path, colours) for path in paths]


def _slice(trials: pa.Table, objective: str, path: str, colours: Mapping[str, str]) -> Drawing:
    column = PARAMETER + path
    active = trials.filter(pc.field(column).is_valid())
    found = values(active, path)
    if not varies(found):
        return NoFigure(f"{label(path)} was {found[0]} in all {len(found)} trials that have it, so it has no slice.")
    points = active.take(sample(range(active.num_rows), POINTS // 4))
    sampling = sampled(points.num_rows, active.num_rows, "trials")
    drawn = figure(f"mIoU against {label(path)}, in the trials that have it{sampling}", label(path), MIOU, height=300)
    scale = kind(found)
    drawn.update_xaxes(type=scale, exponentformat="power", **(_categories(found) if scale == "category" else {}))
    for arm, colour in colours.items():
        drawn.add_traces(_points(_rows(points, arm), column, objective, arm, colour, legend=True))
    return drawn.update_layout(showlegend=len(colours) <= MANY)


def _categories(found: Sequence[Any]) -> dict[str, Any]:
    ordered = sorted({_place(value) for value in found if value is not None})
    return {"categoryorder": "array", "categoryarray": ordered}

"""Figures of training: learning curves, what early stopping saw at its rungs, how large the terms of a loss were."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.style import MANY, MIOU, STATES, figure
from analysis.sampling import POINTS, sample, sampled, thinned

TERM = "train/term/"
EVALUATIONS = 50
"""Points of a curve; of more, every n-th is drawn, and the last."""
Trial = tuple[str, int]
"""An arm and the number of a trial in it."""


def curves_to_draw(trials: pa.Table, best: Sequence[Trial], reports: int) -> list[Trial]:
    """Which trials' learning curves are drawn: the best, and as many others as a figure holds points.

    Args:
        trials: arm and number of all.
        best: of each arm; always drawn.
        reports: evaluations of a whole trial, about.
    """
    others = sorted(set(zip(trials["arm"].to_pylist(), trials["trial"].to_pylist(), strict=True)) - set(best))
    room = max(POINTS // max(min(reports, EVALUATIONS), 1) - len(best), 0)
    return [*sample(others, room), *best]


def curves(reports: pa.Table, best: Sequence[Trial], of: int, colours: Mapping[str, str]) -> Drawing:
    """Learning curves; those of the best trials are thick.

    Args:
        reports: arm, trial, iteration and miou_percent of the trials to draw.
        best: the thick ones.
        of: how many trials there are in all.
        colours: of the arms.
    """
    lines = _by_trial(reports.filter(pc.field("miou_percent").is_valid()))
    if not lines:
        return NoFigure("No trial has an evaluation yet, so there are no learning curves.")
    sampling = sampled(len(lines), of, "trials")
    drawn = figure(f"Learning curves; the best trial of each arm is thick{sampling}", "iteration", MIOU)
    for trial in sorted(lines, key=lambda trial: (trial in best, trial)):
        drawn.add_trace(_curve(trial, lines[trial], colours.get(trial[0], "#444"), thick=trial in best))
    return drawn


def _by_trial(reports: pa.Table) -> dict[Trial, list[tuple[int, float]]]:
    lines: dict[Trial, list[tuple[int, float]]] = {}
    for row in reports.sort_by("iteration").to_pylist():
        lines.setdefault((row["arm"], row["trial"]), []).append((row["iteration"], row["miou_percent"]))
    return lines


def _curve(trial: Trial, points: Sequence[tuple[int, float]], colour: str, *, thick: bool) -> go.Scatter:
    arm, number = trial
    drawn = thinned(points, EVALUATIONS)
    x, y = zip(*drawn, strict=True)
    return go.Scatter(
        x=x,
        y=y,
        mode=_mode(len(drawn), thick=thick),
        name=f"{arm} {number}, best" if thick else f"{arm} {number}",
        showlegend=thick,
        line={"color": colour, "width": 3 if thick else 1},
        marker={"size": 5},
        opacity=1.0 if thick else 0.4,
        hovertemplate=f"{arm} {number}<br>iteration %{{x}}: %{{y:.2f}} %<extra></extra>",
    )


def _mode(points: int, *, thick: bool) -> str:
    """Marks show where the evaluations are, as long as they do not cover the line; a line of one point is none."""
    return "lines+markers" if points == 1 or (thick and points <= EVALUATIONS // 2) else "lines"


def rungs(reports: pa.Table, trials: pa.Table, at: Mapping[str, Sequence[int]], colours: Mapping[str, str]) -> Drawing:
    """mIoU of the trials at every iteration where early stopping stopped some, those that it stopped told apart.

    Args:
        reports: arm, trial, iteration and miou_percent at the rungs.
        trials: of the study.
        at: the rungs of each arm.
        colours: of the arms.
    """
    if not any(at.values()):
        return NoFigure("No trial was stopped early, so there are no rungs to show.")
    ends = _endings(trials)
    scored = reports.filter(pc.field("miou_percent").is_valid()).to_pylist()
    rows = [row for row in scored if row["iteration"] in at.get(row["arm"], ())]
    kept = sample(rows, POINTS)
    sampling = sampled(len(kept), len(rows), "values")
    drawn = figure(
        f"What early stopping saw: open marks were stopped at that rung, full ones went on{sampling}", "", MIOU
    )
    for arm, colour in colours.items():
        for stopped in (False, True):
            here = [row for row in kept if row["arm"] == arm and _stopped(row, ends) is stopped]
            drawn.add_trace(_rung_marks(arm, here, colour, stopped=stopped))
    drawn.update_layout(showlegend=len(colours) <= MANY)  # the axis names the arms too, and the title the marks
    order = [_rung(arm, rung) for arm in colours for rung in sorted(at.get(arm, ()))]
    return drawn.update_xaxes(title="arm and iteration of the rung", categoryorder="array", categoryarray=order)


def _endings(trials: pa.Table) -> dict[Trial, tuple[str, int]]:
    rows = trials.select(["arm", "trial", "state", "iterations"]).to_pylist()
    return {(row["arm"], row["trial"]): (row["state"], row["iterations"]) for row in rows}


def _stopped(row: Mapping[str, Any], ends: Mapping[Trial, tuple[str, int]]) -> bool:
    return ends.get((row["arm"], row["trial"])) == ("PRUNED", row["iteration"])


def _rung(arm: str, iteration: int) -> str:
    return f"{arm}<br>{iteration}"


def _rung_marks(arm: str, rows: Sequence[Mapping[str, Any]], colour: str, *, stopped: bool) -> go.Scatter:
    state = "PRUNED" if stopped else "COMPLETE"
    return go.Scatter(
        x=[_rung(arm, row["iteration"]) for row in rows],
        y=[row["miou_percent"] for row in rows],
        mode="markers",
        marker={"color": colour, "symbol": STATES[state], "size": 9},
        name=f"{arm}, {'stopped' if stopped else 'went on'}",
        legendgroup=arm,
        text=[f"{arm} {row['trial']}" for row in rows],
        hovertemplate="%{text}: %{y:.2f} %<extra></extra>",
    )


def terms(reports: pa.Table, trial: Trial) -> Drawing:
    """Every term of a trial's loss over time, as it is reported: before its weight.

    Args:
        reports: iteration and metrics of this trial.
        trial: which.
    """
    rows = reports.sort_by("iteration").to_pylist()
    points = {row["iteration"]: {k: v for k, v in row["metrics"] or () if k.startswith(TERM)} for row in rows}
    names = sorted({name for found in points.values() for name in found}, key=_task_first)
    arm, number = trial
    if not names:
        return NoFigure(f"{arm} {number}: its reports hold no terms of the loss.")
    title = f"{arm} {number}, the arm's best: terms of the loss, before their weights"
    drawn = figure(title, "iteration", "term (its own unit, log scale)", height=320)
    for name in names:
        line = thinned([(at, found[name]) for at, found in points.items() if name in found], EVALUATIONS)
        x, y = zip(*line, strict=True)
        style = {"mode": _mode(len(line), thick=True), "marker": {"size": 5}}
        drawn.add_trace(go.Scatter(x=x, y=y, name=name.removeprefix(TERM), **style))
    return drawn.update_yaxes(type="log" if _positive(points) else "linear")


def _task_first(name: str) -> tuple[bool, str]:
    """Every arm has the task's terms, so these have the same colours in all figures."""
    return not name.startswith(f"{TERM}task/"), name


def _positive(points: Mapping[int, Mapping[str, float]]) -> bool:
    return all(value > 0 for found in points.values() for value in found.values())

"""Figures as functions of tables: what they draw is what the tables hold."""

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest

from analysis.figures.comparison import class_differences
from analysis.figures.contour import contour
from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.parallel import OFF, parallel
from analysis.figures.search import history, slices
from analysis.figures.style import arm_colours
from analysis.figures.training import EVALUATIONS, curves_to_draw, rungs
from analysis.importance import importance
from analysis.report.source import Source
from analysis.sampling import POINTS, sample, thinned
from analysis.studies.constraints import feasible
from analysis.studies.parameters import kind
from analysis.studies.study import open_study
from tests.analysis.searches import Trial, search, write_search

LAST = "last_miou_percent"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(open_study(write_search(tmp_path_factory.mktemp("searched"), search())))


def traces(drawn: Drawing, **wanted: Any) -> list[Any]:
    assert isinstance(drawn, go.Figure), drawn
    return [trace for trace in drawn.data if all(getattr(trace, name) == value for name, value in wanted.items())]


def table(trials: list[Trial]) -> pa.Table:
    rows = [trial.row for trial in trials]
    names = {name for row in rows for name in row}
    return pa.Table.from_pylist([{name: row.get(name) for name in sorted(names)} for row in rows])


def test_the_best_so_far_rises_at_finished_trials_alone() -> None:
    qualities = {0: 30.0, 1: 20.0, 2: 90.0, 3: 40.0, 4: 35.0}
    trials = [
        Trial(arm="kd", number=n, quality=q, state="PRUNED" if n == 2 else "COMPLETE") for n, q in qualities.items()
    ]
    drawn = history(table(trials), LAST, arm_colours(["kd"]), kept=feasible({}))
    (line,) = traces(drawn, mode="lines")
    assert (list(line.x), list(line.y)) == ([0, 3, 4], [30.0, 40.0, 40.0])
    marks = [(mark.marker.symbol, list(mark.x)) for mark in traces(drawn, mode="markers", legendgroup="kd")]
    assert marks == [("circle", [0, 1, 3, 4]), ("circle-open", [2])]


def test_what_breaks_a_bound_is_drawn_and_is_not_the_best_so_far() -> None:
    trials = table([Trial(arm="kd", number=n, quality=q) for n, q in enumerate((90.0, 30.0, 40.0, 80.0))])
    within = feasible({"search": {"constraints": ["miou <= 50"]}})
    drawn = history(trials, LAST, arm_colours(["kd"]), kept=within)
    (line,) = traces(drawn, mode="lines")
    assert (list(line.x), list(line.y)) == ([1, 2, 3], [30.0, 40.0, 40.0])
    assert [list(mark.x) for mark in traces(drawn, mode="markers", legendgroup="kd")] == [[0, 1, 2, 3]]
    none = history(trials, LAST, arm_colours(["kd"]), kept=feasible({"search": {"constraints": ["miou <= 5"]}}))
    assert traces(none, mode="lines") == []


def test_a_figure_of_many_trials_shows_a_sample_and_says_so() -> None:
    many = table([Trial(arm="kd", number=n, quality=n / 100) for n in range(POINTS + 500)])
    drawn = history(many, LAST, arm_colours(["kd"]), kept=feasible({}))
    assert isinstance(drawn, go.Figure)
    assert f"({POINTS:,} of {POINTS + 500:,} trials, drawn at random)" in drawn.layout.title.text
    assert sum(len(mark.x) for mark in traces(drawn, mode="markers", legendgroup="kd")) == POINTS
    # the line is of all of them
    assert traces(drawn, mode="lines")[0].y[-1] == (POINTS + 499) / 100


def test_a_sample_is_the_same_each_time_and_keeps_the_order() -> None:
    assert sample(range(5), 9) == [0, 1, 2, 3, 4]
    once = sample(range(1000), 100)
    assert once == sample(range(1000), 100) == sorted(once)


def test_slices_hold_the_trials_that_have_the_parameter(source: Source) -> None:
    drawn = {figure.layout.xaxis.title.text: figure for figure in slices(source.study.trials, LAST, source.arm_colours)}
    assert list(drawn) == ["optimizer/lr", "threshold", "tfe_fraction", "combine"]
    assert drawn["optimizer/lr"].layout.xaxis.type == "log"
    assert sum(len(mark.x) for mark in drawn["threshold"].data) == 12
    assert list(drawn["combine"].layout.xaxis.categoryarray) == ["and", "or", "xor"]


def test_a_line_passes_inactive_parameters_below_their_axis(source: Source) -> None:
    drawn = parallel(source.study.trials, LAST, "rdd")
    lines = [trace for trace in traces(drawn, mode="lines") if trace.x]
    axes = 1 + max(x for line in lines for x in line.x if x is not None)
    assert axes == 5  # three parameters, iterations, mIoU
    heights = [line.y[start : start + axes] for line in lines for start in range(0, len(line.y), axes + 1)]
    assert len(heights) == 15
    off = [line for line in heights if OFF in line]
    assert len(off) == 3 and all(line[0] == OFF and line[2] == OFF and line[1] != OFF for line in off)
    assert max(line[-1] for line in heights) == 1.0


def test_the_contour_passes_through_the_finished_trials(source: Source) -> None:
    drawn = contour(source.study.trials, LAST)
    (surface,) = [trace for trace in drawn.data if isinstance(trace, go.Contour)]  # type: ignore[union-attr]
    z = np.array(surface.z)
    # the best trial that has both lies in a corner of the range of t
    best = max(t.quality for t in search() if t.arm == "rdd" and t.number % 5 != 4)
    assert z.max() <= best and z.min() >= 42.0
    nearest = np.abs(np.array(surface.y)[:, None] - 0.1) + np.abs(np.array(surface.x)[None] - 0.76)
    assert z[np.unravel_index(nearest.argmin(), z.shape)] == pytest.approx(best, abs=1.0)


def test_rungs_tell_stopped_trials_from_those_that_went_on(source: Source) -> None:
    drawn = rungs(source.reports, source.study.trials, {"kd": [10]}, {"kd": "#000"})
    (went_on,), (stopped,) = traces(drawn, name="kd, went on"), traces(drawn, name="kd, stopped")
    assert sorted(stopped.text) == ["kd 2", "kd 3", "kd 7"] and len(went_on.x) == 12


def test_of_many_curves_the_best_are_always_drawn() -> None:
    trials = table([Trial(arm="kd", number=n) for n in range(2000)])
    chosen = curves_to_draw(trials, [("kd", 1234)], 200)
    assert len(chosen) == POINTS // EVALUATIONS and chosen[-1] == ("kd", 1234)


def test_of_a_long_curve_few_points_are_drawn_and_the_last_always() -> None:
    assert thinned(range(4), 9) == [0, 1, 2, 3]
    assert thinned(range(200), 50)[-2:] == [196, 199] and len(thinned(range(200), 50)) <= 51
    assert thinned([7], 50) == [7] and thinned([], 50) == []


def test_differences_of_classes_are_points_above_the_baseline() -> None:
    ious = {"baseline 0": {"road": 50.0, "sign": None}, "kd 1": {"road": 53.5, "sign": 20.0}}
    drawn = class_differences(ious, "baseline 0", {"road": "red", "sign": "blue"})
    (cells,) = traces(drawn)
    assert cells.z[0][0] == 3.5 and np.isnan(cells.z[1][0])
    assert isinstance(class_differences(ious, "none", {"road": "red"}), NoFigure)


def test_importance_finds_the_parameter_that_decides(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deciding, idle = rng.uniform(0.5, 0.9, 80), rng.uniform(0.001, 0.002, 80)
    trials = [
        Trial(arm="rdd", number=n, quality=50 * t, parameters={"task/threshold": t, "train/optimizer/lr": lr})
        for n, (t, lr) in enumerate(zip(deciding.tolist(), idle.tolist(), strict=True))
    ]
    source = Source(open_study(write_search(tmp_path, trials)))
    found = importance(source.study.trials, source.reports, "rdd")
    assert found.shares["task/threshold"] > 0.8
    assert (found.trials, found.iteration, found.reason) == (80, 40, "")


def test_importance_compares_trials_at_an_iteration_that_enough_reached(source: Source) -> None:
    # of 15 trials three stopped at 10, so twelve reached the end
    assert importance(source.study.trials, source.reports, "baseline").iteration == 40
    few = importance(source.study.trials.slice(0, 5), source.reports.slice(0, 20), "baseline")
    assert few.shares == {} and "needs 12 trials" in few.reason


def test_the_scale_of_a_parameter_follows_from_its_values() -> None:
    assert kind(["xor", None, "and"]) == kind([True, False]) == "category"
    assert kind([0.0, 0.1, 0.0, 0.1, 1.0, 1.0]) == "category"
    assert kind([1e-5, 1e-3, 1e-2]) == "log"
    assert kind([0.5, 0.7, 0.9]) == kind([0.0, 100.0, 3.0]) == "linear"

"""The report's first screen: facts, one figure, one sentence."""

from pathlib import Path

import plotly.graph_objects as go
import pytest

from analysis.figures.drawing import NoFigure
from analysis.report.glance import glance
from analysis.report.source import Source
from analysis.studies.study import open_study
from tests.analysis.small import Trial, replicated, write_study

CONFIG = {
    "student": {"architecture": "deeplabv3", "backbone": "resnet18", "width": 0.25},
    "train": {"iterations": 40, "batch": 8},
}


def source_of(folder: Path, *trials: Trial, again: dict[str, list[float]] | None = None) -> Source:
    write_study(folder, trials, **CONFIG)
    if again:
        runs = [trial for arm, gains in again.items() for trial in replicated(arm, gains)]
        sources = {arm: {"arm": arm.partition("-")[0], "trial": 0} for arm in again}
        write_study(folder / "replicate", runs, replicates=sources)
    return Source(open_study(folder))


SEARCH = (Trial(arm="baseline"), Trial(arm="kd", gain=3.0), Trial(arm="rdd", state="PRUNED"))


def test_facts_say_what_was_compared(tmp_path: Path) -> None:
    facts = dict(glance(source_of(tmp_path, *SEARCH)).facts)
    assert facts["student"] == "deeplabv3 on resnet18, width 0.25"
    assert facts["training"] == "40 iterations, batch 8"
    assert facts["trials"] == "3 (2 COMPLETE, 1 PRUNED)"
    assert facts["arms"] == "baseline, kd, rdd"
    assert facts["seeds"] == "one for each setting"


def test_one_seed_has_open_circles_and_no_interval(tmp_path: Path) -> None:
    found = glance(source_of(tmp_path, *SEARCH))
    ((drawn,),) = found.drawings
    assert isinstance(drawn, go.Figure)
    (kd,) = drawn.data
    assert (kd.y[0], kd.marker.symbol, kd.error_x.array) == ("kd-0", "circle-open", None)
    assert "open circle" in found.notes[0] and found.answer.startswith("No method can be called better")


def test_seeds_give_intervals_dots_and_the_band_of_what_could_have_been_shown(tmp_path: Path) -> None:
    again = {"baseline": [0.0, 0.2, -0.2], "kd-0": [3.0, 3.3, 2.7]}
    source = source_of(tmp_path, *SEARCH, again=again)
    found = glance(source)
    ((drawn,),) = found.drawings
    assert isinstance(drawn, go.Figure)
    seeds, mean = drawn.data
    assert len(seeds.x) == 3 and mean.x[0] == pytest.approx(sum(seeds.x) / 3, abs=0.1)
    assert mean.marker.symbol == "circle" and mean.error_x.array[0] > 0
    band = next(shape for shape in drawn.layout.shapes if shape.type == "rect")
    assert band.x1 == -band.x0 > 0
    assert f"up to {band.x1:.2f} points" in found.notes[0]
    assert found.answer.startswith("Better than baseline")
    assert dict(found.facts)["seeds"] == "3 for each compared setting"


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    found = glance(source_of(tmp_path, Trial(arm="kd")))
    ((drawn,),) = found.drawings
    assert isinstance(drawn, NoFigure) and found.answer


def test_many_arms_are_counted(tmp_path: Path) -> None:
    found = glance(source_of(tmp_path, *(Trial(arm=f"arm-{n}") for n in range(25))))
    assert dict(found.facts)["arms"] == "25"

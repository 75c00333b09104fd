"""Gradient conflict over trials and iterations, from rows of known values, and the report's section on it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from analysis.gradients import COURSES, POINTS, conflicts, courses, gradients, unreached
from analysis.report import report
from analysis.studies.runs import read_runs
from analysis.studies.study import open_study
from study.tables import GRADIENTS, TableWriter
from tests.analysis.report.test_report import figures, rows, texts
from tests.analysis.searches import Trial, write_search

TRIALS = [Trial(arm="kd", number=n, quality=40.0 + n) for n in range(11)]
NONE_KEPT = {"constraints": ["miou >= 99"]}
STOPPED = Trial(arm="kd", number=11, state="PRUNED", iterations=10)


def row(
    trial: int, iteration: int, cosine: float | None, ratio: float | None = 2.0, *,
    arm: str = "kd", stage: str | None = None, term: str = "kd/pixel", reached: bool = True,
) -> dict[str, Any]:  # fmt: skip
    return {
        "arm": arm, "trial": trial, "iteration": iteration, "stage": stage, "term": term, "task_norm": 1.0,
        "term_norm": ratio if reached else None, "cosine": cosine, "norm_ratio": ratio if reached else None,
    }  # fmt: skip


def table(told: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(told), GRADIENTS)


def write(
    folder: Path, told: Sequence[dict[str, Any]], trials: Sequence[Trial] = (*TRIALS, STOPPED), **config: Any
) -> Path:
    write_search(folder, trials, **config)
    with TableWriter(folder / "tables", GRADIENTS) as writer:
        writer.append(told)
    return folder


def test_the_trials_behind_it_are_those_that_finished(tmp_path: Path) -> None:
    told = [row(n, at, 0.1 * n) for n in range(12) for at in (5, 10)]
    other = [row(0, 5, -1.0, arm="rdd")]
    study = open_study(write(tmp_path / "finished", [*told, *other]))
    assert set(gradients(study, "kd")["trial"].to_pylist()) == set(range(11))
    bounded = open_study(write(tmp_path / "bounded", told, search=NONE_KEPT))
    assert set(gradients(bounded, "kd")["trial"].to_pylist()) == set(range(11))
    running = open_study(write(tmp_path / "running", told, [STOPPED]))
    assert set(gradients(running, "kd")["trial"].to_pylist()) == set(range(12))
    none = gradients(open_study(write_search(tmp_path / "older", TRIALS)), "kd")
    assert none.num_rows == courses(none).num_rows == conflicts(none).num_rows == 0 and unreached(none) == []


def test_a_course_is_the_median_over_trials_with_its_band() -> None:
    told = [row(n, at, (n - 5) * at / 100, 1.0 + n) for n in range(11) for at in (10, 20)]
    found = courses(table(told)).to_pylist()
    assert [(one["iteration"], one["trials"], one["stage"], one["term"]) for one in found] == [
        (10, 11, None, "kd/pixel"), (20, 11, None, "kd/pixel"),
    ]  # fmt: skip
    assert [one["cosine"] for one in found] == pytest.approx([0, 0])
    assert [one["cosine_low"] for one in found] == pytest.approx([-0.4, -0.8])
    assert [one["cosine_high"] for one in found] == pytest.approx([0.4, 0.8])
    assert [found[0][name] for name in ("norm_ratio_low", "norm_ratio", "norm_ratio_high")] == pytest.approx([2, 6, 10])


def test_of_many_probes_each_trial_averages_its_neighbours_within_a_stage() -> None:
    drawn = np.random.default_rng(0).uniform(-1, 1, (3, 4 * POINTS))
    told = [
        row(n, at + 1, drawn[n, at], stage="tfe" if at < 41 + n else "tse")
        for n in range(3)
        for at in range(4 * POINTS)
    ]
    found = courses(table(told))
    assert found.schema == COURSES
    both = found.to_pylist()
    assert POINTS < len(both) <= POINTS + 2
    tenth = [one for one in both if 41 <= one["iteration"] <= 44]
    assert [(one["stage"], one["trials"]) for one in sorted(tenth, key=lambda one: one["stage"])] == [
        ("tfe", 3),
        ("tse", 3),
    ]
    late = next(one for one in both if one["iteration"] == pytest.approx(46.5))
    assert late["cosine"] == pytest.approx(np.median(drawn[:, 44:48].mean(1)))


def test_conflicts_are_counted_over_all_probes() -> None:
    told = [
        *(row(n, at, cosine) for n in range(2) for at, cosine in ((1, -0.5), (2, 0.25), (3, None), (4, -0.1))),
        row(0, 1, None, term="own/early", reached=False),
        row(0, 1, -1.0, stage="tfe"),
    ]
    found = {(one["stage"], one["term"]): one for one in conflicts(table(told)).to_pylist()}
    plain = found[None, "kd/pixel"]
    assert (plain["trials"], plain["probes"], plain["median_norm_ratio"]) == (2, 8, 2.0)
    assert plain["conflicting_percent"] == pytest.approx(400 / 6) and plain["median_cosine"] == -0.1
    assert found["tfe", "kd/pixel"]["conflicting_percent"] == 100
    early = found[None, "own/early"]
    assert (early["probes"], early["median_cosine"], early["conflicting_percent"]) == (1, None, None)
    assert unreached(table(told)) == ["own/early"]


def test_the_report_draws_it_and_names_what_has_no_value(tmp_path: Path) -> None:
    told = [row(n, at, 0.1 * n - 0.3, stage="tfe" if at < 20 else "tse") for n in range(11) for at in (5, 10, 20, 40)]
    early = [row(n, 5, None, term="own/early", reached=False) for n in range(11)]
    page = report([write(tmp_path, [*told, *early])])
    lines = [figure for figure in figures(page) if "kd/pixel, tfe" in [trace.get("name") for trace in figure["data"]]]
    drawn = {trace["name"]: trace for trace in lines[0]["data"] if "name" in trace}
    assert [figure["layout"]["yaxis"]["title"]["text"] for figure in lines] == ["cosine", "norm ratio (log scale)"]
    assert lines[1]["layout"]["yaxis"]["type"] == "log" and lines[0]["layout"]["xaxis"]["title"]["text"] == "iteration"
    assert drawn["kd/pixel, tfe"]["x"] == [5, 10] and drawn["kd/pixel, tse"]["x"] == [20, 40]
    assert drawn["kd/pixel, tfe"]["line"]["dash"] == "dot" and drawn["kd/pixel, tse"]["line"]["dash"] == "solid"
    assert len(lines[0]["data"]) == 2 * 3, "each stage with both edges of its band"
    assert "own/early of kd: no value, because what is compared lies before" in texts(page)
    found = [one for one in rows(page, "gradients") if one["term"] == "kd/pixel"]
    assert [(one["stage"], one["trials"], one["probes"]) for one in found] == [("tfe", "11", "22"), ("tse", "11", "22")]
    assert float(found[0]["in conflict, %"]) == pytest.approx(100 * 3 / 11)


def test_where_nothing_was_compared_the_section_is_left_out_and_says_how(tmp_path: Path) -> None:
    page = report([write_search(tmp_path, TRIALS)])
    assert "<h2>Gradient conflict</h2>" not in page.read_text()
    left_out = texts(page).partition("Left out, because there is nothing to show:")[2]
    assert "<strong>Gradient conflict</strong> (No step compared the gradients" in left_out


def test_runs_of_one_setting_may_differ_in_what_they_compare() -> None:
    config = {"task": {}, "train": {"batch": 2}, "init_seed": 1}
    probed = {**config, "train": {"batch": 2, "probe_every": 5}}
    other = {**config, "train": {"batch": 4, "probe_every": 5}}
    made = pa.table({"arm": ["kd"] * 3, "trial": [0, 1, 2], "config": [json.dumps(c) for c in (config, probed, other)]})
    one, two, three = (run.settings for run in read_runs(made))
    assert one == two != three

"""Tuning curves of small searches: paths, expectations, where the answer changes, and what cannot be drawn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from analysis.figures.drawing import NoFigure
from analysis.figures.style import arm_colours
from analysis.figures.tuning_curves import tuning_curves as drawn_curves
from analysis.studies.study import Study, open_study
from analysis.tuning_curves.leaders import TuningCurves, tuning_curves
from study.__main__ import main
from tests.analysis.searches import NOON, Trial, write_search

LR = {"train/optimizer/lr": 0.1}


@dataclass(frozen=True, kw_only=True)
class Priced(Trial):
    """A trial with a cost in whole trials that ended so many hours after noon."""

    cost: float | None = 1.0
    hour: int = 0

    @property
    def row(self) -> dict[str, Any]:
        stopped_by = "pruning" if self.state == "PRUNED" else None
        ended = NOON + timedelta(hours=self.hour or self.number)
        return {**super().row, "cost_trials": self.cost, "cost": self.cost, "ended": ended, "stopped_by": stopped_by}


def search(arm: str, qualities: Sequence[float], cost: float | None = 1.0) -> list[Trial]:
    """Trials one after the other; of a quality below 0 one that was stopped at a quarter."""
    return [
        Priced(arm=arm, number=n, quality=quality, parameters=LR, cost=cost)
        if quality > 0
        else Priced(arm=arm, number=n, quality=-quality, parameters=LR, cost=cost and cost / 4, state="PRUNED",
                    iterations=10)
        for n, quality in enumerate(qualities)
    ]  # fmt: skip


def curves(folder: Path, trials: Sequence[Trial], **config: Any) -> TuningCurves:
    return tuning_curves(open_study(write_search(folder, trials, **config)))


def test_the_path_steps_at_finished_trials_that_beat_the_others_in_the_order_of_their_ends(tmp_path: Path) -> None:
    trials = [*search("kd", [30, -90, 20, 50, 40]), Priced(arm="kd", number=5, state="FAIL", iterations=0, cost=9.0)]
    (curve,) = curves(tmp_path, trials).curves
    assert curve.path is not None
    assert (curve.path.cost, curve.path.miou_percent) == ((1.0, 3.25), (30.0, 50.0))
    assert (curve.path.trial, curve.path.spent) == ((0, 3), 4.25)
    assert [curve.path.at(cost) for cost in (0.5, 1.0, 3.0, 3.25)] == [None, 30.0, 30.0, 50.0]


def test_settings_that_do_not_depend_on_results_have_an_expectation_and_those_of_tpe_a_path_alone(
    tmp_path: Path,
) -> None:
    trials = search("kd", [30, 20, 50, 40])
    (random,) = curves(tmp_path / "random", trials, search={"sampler": "random"}).curves
    one = random.expectation
    assert one is not None and (one.trials, one.stopped, one.closed) == (4, 0, True)
    assert one.cost == (1.0, 2.0, 3.0, 4.0)
    assert one.mean == pytest.approx((35.0, (50 * 3 + 40 * 2 + 30) / 6, (50 * 3 + 40) / 4, 50.0))
    (startup,) = curves(tmp_path / "startup", trials, startup_trials=3).curves
    assert startup.expectation is not None and startup.expectation.trials == 3
    (tpe,) = curves(tmp_path / "tpe", trials, startup_trials=2).curves
    assert tpe.path is not None and tpe.expectation is None
    assert "2 finished trials have startup settings, too few" in tpe.missing[0]


def test_of_stopped_trials_those_that_nobody_chose_are_ordered(tmp_path: Path) -> None:
    """Where some were let run through, whatever they scored, they stand for all; else what is left is flattered."""
    trials = search("kd", [30, -20, -50, 40, -10, 20, 10])
    (left,) = curves(tmp_path / "left", trials, search={"sampler": "qmc"}).curves
    assert left.expectation is not None
    assert (left.expectation.trials, left.expectation.stopped, left.expectation.kept) == (4, 3, False)
    keep = {"keep_every": 3}
    (kept,) = curves(tmp_path / "kept", trials, search={"sampler": "qmc"}, pruning=keep).curves
    assert kept.expectation is not None
    assert (kept.expectation.trials, kept.expectation.kept) == (3, True)
    assert kept.expectation.mean[0] == pytest.approx((30 + 40 + 10) / 3)


def test_where_paths_cross_the_answer_changes_with_the_budget(tmp_path: Path) -> None:
    trials = [*search("baseline", [40, 41, 42, 43]), *search("kd", [30, 45, 45, 46]), *search("rdd", [35, 20, 50, 10])]
    found = curves(tmp_path, trials, search={"sampler": "random"})
    assert found.common == 4.0
    assert [(one.cost, one.arm) for one in found.leaders] == [(1.0, "baseline"), (2.0, "kd"), (3.0, "rdd")]
    assert found.leaders[2].ahead == pytest.approx(5.0)
    assert found.answers[0] == (
        "with a quarter of the budget, 1.00 whole trials of each arm, baseline leads by 5.00 points; with all of it, "
        "4.00, rdd leads by 4.00 points: another answer"
    )
    assert found.answers[1] == (
        "the answer changes with the budget: baseline from 1.00 whole trials on, kd from 2.00 whole trials on, rdd "
        "from 3.00 whole trials on"
    )
    # the mean of one trial is 41.5 each for baseline and kd, and of all four that of the best
    assert [one.arm for one in found.expected_leaders][-1] == "rdd"
    assert "in expectation over the order of trials" in found.answers[2]


def test_arms_of_unequal_spends_compare_up_to_what_both_have_spent(tmp_path: Path) -> None:
    found = curves(tmp_path, [*search("baseline", [40, 40]), *search("kd", [30, 30, 30, 50])])
    assert found.common == 2.0 and [one.arm for one in found.leaders] == ["baseline"]
    assert found.answers[1] == "baseline is ahead at every cost at which arms compare"


NOTHING: dict[str, tuple[list[Trial], str]] = {
    "all stopped": (search("kd", [-1, -2]), "kd: no trial has used its whole budget, all 2 were stopped before"),
    "all failed": (
        [Priced(arm="kd", number=0, state="FAIL", iterations=0, parameters=LR)],
        "kd: all of its trials failed, so nothing was found",
    ),
    "no costs": (search("kd", [30, 40], cost=None), "kd has no costs: the study began before costs were priced"),
    "only the teacher": ([Trial(arm="teacher", number=0)], "no arm that searches has an ended trial"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_cannot_be_drawn_is_said(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trials, said = NOTHING[case]
    found = curves(tmp_path / "study", trials)
    drawn = drawn_curves(found.curves, arm_colours(["kd"]))
    assert isinstance(drawn, NoFigure) and said in drawn.reason
    assert main(["tuning-curves", str(tmp_path / "study")]) == 0
    assert said in capsys.readouterr().out


def test_one_trial_has_a_path_of_one_step_and_no_answer_to_change(tmp_path: Path) -> None:
    found = curves(tmp_path, search("kd", [30]))
    assert found.answers[0] == "only kd has a tuning curve, so there is no answer that a budget could change"
    drawn = drawn_curves(found.curves, arm_colours(["kd"]))
    assert isinstance(drawn, go.Figure)
    (line,) = drawn.data
    assert (list(line.x), list(line.y)) == ([1.0, 1.0], [30.0, 30.0]) and line.mode == "lines+markers"


def test_the_figure_has_a_line_for_each_path_and_a_band_for_each_expectation(tmp_path: Path) -> None:
    trials = [*search("baseline", [40, 41, 42, 43]), *search("kd", [30, 45])]
    found = curves(tmp_path, trials, search={"sampler": "random"})
    drawn = drawn_curves(found.curves, arm_colours(["baseline", "kd"]))
    assert isinstance(drawn, go.Figure)
    assert [trace.name for trace in drawn.data] == [None, None, "baseline, expected", "baseline", "kd"]
    assert drawn.layout.xaxis.title.text.endswith("(whole trials of the plain student)")


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study: Study = open_study(
        write_search(tmp_path / "study", [*search("baseline", [40, 41, 42]), *search("kd", [50, 45])],
                     search={"sampler": "random"})
    )  # fmt: skip
    assert main(["tuning-curves", str(study.folder)]) == 0
    said = capsys.readouterr().out
    assert "kd leads by" in said and "baseline's expectation is over the order of 3 trials, in closed form" in said
    assert main(["tuning-curves", str(study.folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [curve["arm"] for curve in answer["curves"]] == ["baseline", "kd"] and answer["common"] == 2.0

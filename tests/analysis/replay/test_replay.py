"""What a replay answers, as numbers, sentences, a figure and a section, and what it cannot."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from analysis.figures.drawing import NoFigure
from analysis.figures.replays import replays
from analysis.figures.style import arm_colours
from analysis.replay.rank import rung_ranks
from analysis.replay.record import arm_records
from analysis.replay.replay import Bounds, Replay, replay
from analysis.replay.schedule import Schedule
from analysis.replay.seeds import replay_seeds
from analysis.replay.view import answers, notes
from analysis.report.curved import curves
from analysis.report.replayed import replayed
from analysis.report.source import Source
from analysis.studies.study import open_study
from analysis.verdict.verdict import verdict
from study.__main__ import main
from study.tables import LOOKS
from tests.analysis import small
from tests.analysis.searches import NOON, Trial, write_search
from tests.pages import blocks

CONFIG = {
    "search": {"sampler": "random"},
    "pruning": {"kind": "none"},
    "train": {"iterations": 40, "evaluate_every": 10},
}
LR = {"train/optimizer/lr": 0.1}


@dataclass(frozen=True, kw_only=True)
class Timed(Trial):
    """A trial that ran alone, after those of lower numbers, and rises by tenths of `late` in its last evaluations."""

    cost: float | None = 1.0
    late: float = 0.0
    earliest_stop: int | None = 10

    @property
    def curve(self) -> list[tuple[int, float]]:
        return [(at, score + self.late * max(0, at - 20) / 20) for at, score in super().curve]

    @property
    def row(self) -> dict[str, Any]:
        start = NOON + timedelta(hours=self.number)
        return {
            **super().row, "cost_trials": self.cost and self.cost * self.iterations / 40, "started": start,
            "ended": start + timedelta(minutes=50), "earliest_stop": self.earliest_stop,
            "stopped_by": "pruning" if self.state == "PRUNED" else None,
        }  # fmt: skip

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [
            {**row, "time": NOON + timedelta(hours=self.number, minutes=row["iteration"])} for row in super().reports
        ]


def found_in(folder: Path, trials: Sequence[Trial], *schedules: Schedule, **config: Any) -> Replay:
    return replay(open_study(write_search(folder, trials, **{**CONFIG, **config})), schedules)


def qualities(*values: float) -> list[Trial]:
    return [Timed(arm="kd", number=n, quality=value, parameters=LR) for n, value in enumerate(values)]


LATE_WINNER = [*qualities(50, 40, 45), Timed(arm="kd", number=3, quality=41, late=30, parameters=LR)]


def test_a_winner_that_rises_late_would_have_been_stopped(tmp_path: Path) -> None:
    found = found_in(tmp_path, LATE_WINNER, Schedule(kind="halving", reduction_factor=2))
    stored, halving = found.arms
    assert (stored.regret, stored.saved, stored.winner_kept) == (Bounds(0.0, 0.0), Bounds(0.0, 0.0), True)
    # of 35, 28, 31.5 and 28.7 points at iteration 10 all but the first are stopped there
    assert (halving.finished, halving.stopped) == (Bounds(1, 1), Bounds(3, 3))
    assert halving.cost == Bounds(1.75, 1.75) and halving.saved == Bounds(2.25, 2.25)
    assert halving.best == Bounds(50.0, 50.0) and halving.regret == Bounds(21.0, 21.0)
    assert (halving.winner, halving.winner_stopped, halving.unknown) == (3, 10, 0)
    said = list(answers(found))
    assert "kd, halving by 2: the winner, kd-3, would have been stopped at iteration 10" in said
    assert [one.agreeing for one in found.agreements] == [4]


def test_without_a_question_every_kind_is_asked_about(tmp_path: Path) -> None:
    study = open_study(write_search(tmp_path, LATE_WINNER, **CONFIG))
    assert [arm.schedule.kind for arm in replay(study).arms] == ["none", "halving", "hyperband", "median"]
    asked = replay(study, budget=2.0)
    assert [(arm.schedule.kind, arm.trials, arm.cost) for arm in asked.arms] == [("none", Bounds(2, 2), Bounds(2, 2))]
    assert asked.arms[0].winner_stopped == 0 and "would not have been begun" in next(answers(asked))
    assert replay(study, trials=3).arms[0].regret == Bounds(21.0, 21.0)


def test_what_was_not_trained_is_answered_by_bounds(tmp_path: Path) -> None:
    trials = [
        *qualities(50),
        Timed(arm="kd", number=1, quality=40, state="PRUNED", iterations=20, parameters=LR),
    ]
    pruning = {"kind": "halving", "reduction_factor": 2}
    found = found_in(tmp_path, trials, Schedule(kind="none"), pruning=pruning)
    whole = found.arms[1]
    assert (whole.unknown, whole.finished) == (1, Bounds(1, 2))
    assert whole.cost == Bounds(1.75, 2.0) and whole.saved == Bounds(-0.5, -0.25)
    assert whole.best == Bounds(50.0, None) and whole.regret == Bounds(None, 0.0)
    assert any("any score is allowed for" in line for line in notes(found))
    assert str(whole.regret) == "at most 0.00" and str(whole.cost) == "1.75 to 2.00"


@pytest.mark.parametrize(("sampler", "said"), [("tpe", "would have suggested other"), ("qmc", "does not depend on")])
def test_suggestions_stay_as_stored_which_is_said(sampler: str, said: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, qualities(30, 40), search={"sampler": sampler})
    assert any(f"the sampler, {sampler}, {said}" in line for line in notes(found))


def test_what_a_budget_leaves_is_said(tmp_path: Path) -> None:
    found = found_in(tmp_path, LATE_WINNER, Schedule(kind="halving", reduction_factor=2), budget={"whole_trials": 4})
    assert [arm.unused for arm in found.arms] == [0.0, 2.25]
    assert any("2.25 of the budget is left, for trials that were never drawn" in line for line in notes(found))


def test_a_trial_that_is_never_judged_runs_through_and_is_held_against_no_other(tmp_path: Path) -> None:
    trials = [
        *qualities(50, 40),
        Timed(arm="kd", number=2, quality=20, earliest_stop=40, parameters=LR),
        *[Timed(arm="kd", number=3, quality=39, parameters=LR)],
    ]
    found = found_in(tmp_path, trials, Schedule(kind="halving", reduction_factor=3))
    # were trial 2 at the rung, trial 3 would be compared among four and still stop; it is among three
    assert found.arms[1].finished == Bounds(2, 2)


def test_tables_of_an_older_kdstudy_need_the_first_rung(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trials = [Timed(arm="kd", number=n, quality=q, earliest_stop=None, cost=None, parameters=LR)
              for n, q in enumerate((50, 40, 45))]  # fmt: skip
    folder = write_search(tmp_path, trials, **CONFIG)
    assert main(["replay", str(folder), "--pruning", "halving"]) == 2
    assert "give it with --grace ITERATIONS" in capsys.readouterr().err
    assert main(["replay", str(folder), "--pruning", "halving", "--grace", "20", "--budget", "2"]) == 2
    assert "--budget needs costs, but the trials of kd have none" in capsys.readouterr().err
    assert main(["replay", str(folder), "--pruning", "halving", "--grace", "20"]) == 0
    said = capsys.readouterr().out
    assert "halving by 3 from iteration 20" in said and "it began before they were priced" in said
    assert "all are taken to be judged" in said


NOTHING: dict[str, tuple[list[Trial], str]] = {
    "all stopped": (
        [Timed(arm="kd", number=n, state="PRUNED", iterations=10, parameters=LR) for n in range(2)],
        "no trial has finished, so there is no winner",
    ),
    "all failed": (
        [Timed(arm="kd", number=0, state="FAIL", iterations=0, parameters=LR)],
        "no trial has finished, so there is no winner",
    ),
    "one trial": (qualities(30), "would have finished"),
    "only the teacher": ([Trial(arm="teacher", number=0)], "so there is nothing to replay"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_a_study_with_nothing_to_replay_says_so(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trials, said = NOTHING[case]
    folder = write_search(tmp_path, trials, **CONFIG)
    assert main(["replay", str(folder)]) == 0
    assert said in capsys.readouterr().out
    drawn = replays(replay(open_study(folder)).arms, arm_colours(["kd"]))
    assert isinstance(drawn, go.Figure if case == "one trial" else NoFigure)


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_search(tmp_path, LATE_WINNER, **CONFIG)
    asked = ["replay", str(folder), "--pruning", "halving", "--reduction-factor", "2", "--keep-every", "3"]
    assert main(asked) == 0
    assert "1 trial in 3 kept" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    own, kept = json.loads(capsys.readouterr().out)["arms"]
    assert own["regret"] == {"low": 0.0, "high": 0.0} and kept["finished"] == {"low": 2, "high": 2}
    for wrong in (["--budget", "0"], ["--trials", "x"], ["--keep-every", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            main(["replay", str(folder), *wrong])


def test_the_report_has_its_sections_with_figures_and_tables(tmp_path: Path) -> None:
    source = Source(open_study(write_search(tmp_path, LATE_WINNER, **CONFIG)))
    replays_of, curves_of = replayed(source), curves(source)
    for section, tables in ((replays_of, ["replays", "ranks"]), (curves_of, ["tuning-curves"])):
        assert isinstance(section.drawings[0][0], go.Figure) and section.notes
        assert [table.name for table in section.tables] == tables
    rows = replays_of.tables[0].rows.to_pylist()
    assert [row["regret, points, most"] for row in rows if row["early stopping"] == "none"] == [0.0]
    assert rows[1]["early stopping"] == "halving by 3" and rows[1]["winner stopped at"] == 10


def test_rungs_are_ranked_by_the_trials_that_nobody_chose(tmp_path: Path) -> None:
    """Kendall's tau of 8 trials: the order at a quarter is that of the end but for the late winner."""
    trials = [*qualities(50, 40, 45, 30, 35, 20, 25), Timed(arm="kd", number=7, quality=10, late=60, parameters=LR)]
    study = open_study(write_search(tmp_path, trials, **CONFIG))
    (record,) = arm_records(study)
    found = list(rung_ranks(record, Schedule(kind="halving", reduction_factor=2)))
    assert [rank.iteration for rank in found] == [10, 20] and not found[0].selected
    # 28 pairs, of which the 7 with the late winner are turned round
    assert found[0].tau == pytest.approx((21 - 7) / 28)
    kept = list(rung_ranks(record, Schedule(kind="halving", keep_every=2)))
    assert kept[0].trials == 4 and kept[0].tau == pytest.approx(1.0)
    assert next(rung_ranks(record, Schedule(kind="halving", keep_every=4))).tau is None


def test_a_row_that_was_put_back_without_a_time_comes_right_after_the_one_before(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Mended(Timed):
        @property
        def reports(self) -> list[dict[str, Any]]:
            rows = super().reports
            return [{**row, "time": None} if row["iteration"] == 20 else row for row in rows]

    trials = [Mended(arm="kd", number=n, quality=q, parameters=LR) for n, q in enumerate((50, 40, 45))]
    schedule = Schedule(kind="halving", reduction_factor=2, grace=20)
    mended, whole = (
        found_in(tmp_path / "a", trials, schedule),
        found_in(tmp_path / "b", qualities(50, 40, 45), schedule),
    )
    assert mended.arms == whole.arms


def test_fewer_seeds_are_judged_as_if_no_others_had_been_trained(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    gains = [3.0, 3.1, 2.9, -4.0, -5.0]
    again = [*small.replicated("baseline", [0.0, 0.1, -0.1, 0.0, 0.1]), *small.replicated("kd", gains)]
    folder = small.write_study(tmp_path / "all", again)
    few = small.write_study(tmp_path / "few", [trial for trial in again if trial.number < 3], planned_seeds=3)
    found = replay_seeds(open_study(folder), 3)
    assert (found.seeds, found.all_seeds) == (3, 5)
    assert not (folder / LOOKS).exists(), "to imagine is not to look"
    assert found.answer[: len(verdict(open_study(few)).answer)][:2] == verdict(open_study(few)).answer[:2]
    assert found.answer != found.full_answer
    assert main(["replay", str(folder), "--seeds", "3"]) == 0
    assert "with 3 seeds:" in capsys.readouterr().out
    for wrong in (["--seeds", "1"], ["--seeds", "6"], ["--seeds", "3", "--trials", "2"]):
        assert main(["replay", str(folder), *wrong]) == 2
    searched = write_search(tmp_path / "search", qualities(30, 40), **CONFIG)
    assert main(["replay", str(searched), "--seeds", "3"]) == 2
    assert "needs settings that ran with several seeds" in capsys.readouterr().err


def test_the_commands_of_the_page_run_as_they_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    arms = {"baseline": {}, "kd": {"methods": {"kd": {}}}}
    write_search(Path("runs/mine"), LATE_WINNER, **CONFIG, arms=arms)
    again = [*small.replicated("baseline", [0.0, 0.1, -0.1]), *small.replicated("kd", [3.0, 3.1, 2.9])]
    small.write_study(Path("runs/mine/replicate"), again)
    (block,) = (block for block in blocks("sh") if "kdstudy replay" in block)
    lines = block.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert main(line.split()[1:]) == 0
        assert capsys.readouterr().out

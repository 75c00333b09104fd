"""What a person sees of a running study: lines in a file, a table on a terminal, and how both fit 80 columns."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

from study.configuration.config import ExecutionConfig, StudyConfig
from study.execution.display import view as views
from study.execution.display.pace import Pace
from study.execution.display.view import View
from study.ledger.ledger import ArmLedger, open_arms
from study.ledger.trial_run import Suggestion, TrialRun
from tests.trainers import small
from trainers.resources.progress import Progress

Reader = Callable[..., StudyConfig]
ROW = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:12+00:00", "seconds": 10.0, "cost": None}


def run_of(asked: Suggestion, folder: Path, engine: Any = "inline") -> TrialRun:
    own = folder / f"{asked.arm}-{asked.number:05d}"
    own.mkdir(parents=True, exist_ok=True)
    return TrialRun(
        **vars(asked),
        trial=small.trial(),
        hash="",
        budget=2000,
        prunable=True,
        execution=ExecutionConfig(engine=engine),
        folder=str(own),
    )


def begin(view: View, arm: ArmLedger, folder: Path) -> TrialRun:
    asked = arm.ask()
    assert asked is not None
    view.started(run := run_of(asked, folder))
    return run


def end(view: View, arm: ArmLedger, run: TrialRun, state: TrialState = TrialState.COMPLETE) -> None:
    row = {**ROW, "trial": run.number, "state": state.name, "iterations": 12}
    arm.tell(run.number, state, 20.0, row)
    view.ended(run.arm, run.number, state.name, 20.0, None)


@pytest.fixture
def arms(config: Reader, tmp_path: Path) -> dict[str, ArmLedger]:
    return open_arms(config(), tmp_path, with_teacher=False)


def on(console: Console) -> str:
    said: str = console.file.getvalue()  # type: ignore[attr-defined]
    return said


def test_a_trial_is_followed_between_its_evaluations(arms: dict[str, ArmLedger], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    view = View(arms, console)
    run = begin(view, arms["rdd"], tmp_path)
    trial = view._trials()[0]
    trial.clock = iter(range(0, 1000, 2)).__next__
    assert trial.text() == "rdd 0: 0/2000"
    Progress(iteration=340, seconds=110.0, steps_per_s=3.14, loss=0.7123).write(Path(run.folder))
    assert trial.text() == "rdd 0: 340/2000, 3.1 it/s, loss 0.712"
    view.reported(run, 400, 20.125)
    assert trial.text() == "rdd 0: 400/2000, mIoU 20.12", "an older note says nothing of now"
    Progress(iteration=410, seconds=150.0, steps_per_s=120.4, loss=None).write(Path(run.folder))
    assert trial.text() == "rdd 0: 410/2000, 120 it/s, mIoU 20.12"
    (Path(run.folder) / "progress.json").write_text('{"iteration": 5')  # it is being written
    assert trial.text() == "rdd 0: 410/2000, 120 it/s, mIoU 20.12"


def test_the_view_says_what_waits_and_shows_some_of_what_runs(arms: dict[str, ArmLedger], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    view = View(arms, console)
    view.show_capacity("cluster: 1 node, room for 1 trial; waiting for room: 99 of 100 that have begun")
    for number in range(100):
        view.started(run_of(Suggestion(arm="rdd", number=number, attempt=1, values={}), tmp_path))
    console.print(view._render())
    assert on(console).count("waiting for room: 99 of 100") == 2, "a line that stays, and in the live table"
    assert "rdd 0: 0/2000" in on(console) and "and 80 more" in on(console) and "rdd 20: 0" not in on(console)


def test_a_line_a_minute_names_what_runs_in_a_file(
    arms: dict[str, ArmLedger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LINE_EVERY_S", 0.01)
    console = Console(file=io.StringIO(), width=80)
    view = View(arms, console)
    begin(view, arms["rdd"], tmp_path)
    with view:
        while on(console).count("running: ") < 2:
            pass
    said = on(console)
    assert "rdd 0: started\nrunning: rdd 0: 0/2000 (0 trials, 0 % of the budget)\n" in said
    assert not re.search(r"[^\n -~]", said), "no control characters"


@pytest.mark.parametrize("long", ["rdd", "an-arm-with-a-name-of-forty-characters-it"])
def test_the_table_fits_eighty_columns(config: Reader, tmp_path: Path, long: str) -> None:
    values = config().arms["rdd"]
    study = config(arms={"baseline": {"trials": 2, "space": "optimizer"}, long: {**vars_of(values), "trials": 4}})
    arms = open_arms(study, tmp_path, with_teacher=False)
    console = Console(file=io.StringIO(), width=80)
    view = View(arms, console)
    view.follow(Pace(study, arms, lambda workers: 1))
    for _ in range(2):
        end(view, arms[long], begin(view, arms[long], tmp_path))
    begin(view, arms[long], tmp_path)
    console.print(view._render())
    table = on(console).splitlines()[-5:]
    assert all(len(line) <= 80 for line in table)
    assert table[0].split() == ["arm", "COMPLETE", "PRUNED", "FAIL", "running", "budget", "used", "best", "mIoU", "%"]
    assert table[2].split()[1:] == ["2", "0", "0", "1", "2/4", "20.00"]
    assert table[4].endswith("2 trials, 33 % of the budget, about 0:46 left"), "four of 10 s, and three starts of 2 s"


def test_the_best_of_an_arm_keeps_the_bounds_of_the_search(config: Reader, tmp_path: Path) -> None:
    study = config(search={"constraints": ["miou <= 30"]}, pruning={"kind": "none"})
    arm = open_arms(study, tmp_path, with_teacher=False)["rdd"]
    shown = []
    for score in (40.0, 20.0, 35.0):
        asked = arm.ask()
        assert asked is not None
        arm.tell(asked.number, TrialState.COMPLETE, score, {**ROW, "trial": asked.number, "iterations": 12})
        shown.append(views._best(arm))
    assert shown == ["", "20.00", "20.00"]


def vars_of(arm: Any) -> dict[str, Any]:
    return {"space": list(arm.space), "task": {"weighting": "rdd"}, "methods": {"kd": {}}}


def test_the_time_left_is_of_all_drivers_trials(config: Reader, arms: dict[str, ArmLedger], tmp_path: Path) -> None:
    view = View(arms, Console(file=io.StringIO(), width=80))
    end(view, arms["rdd"], begin(view, arms["rdd"], tmp_path))
    pace = Pace(config(), arms, lambda workers: 1)
    # 5 more trials of 10 s, and 2 s between the end of one and the start of the next
    assert pace.left_s([]) == pytest.approx(5 * 12)
    follower = View(arms, Console(file=io.StringIO(), width=80))
    follower.follow(pace)
    end(follower, arms["rdd"], begin(follower, arms["rdd"], tmp_path))
    assert pace.left_s([]) == pytest.approx(4 * 12), "a process was started for it, which tells nothing of the next"


def test_a_notebook_gets_the_table_where_it_can_show_one(
    arms: dict[str, ArmLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    for installed in (object(), None):
        monkeypatch.setattr(views, "find_spec", lambda name, found=installed: found)
        assert View(arms, Console(force_jupyter=True))._is_live is (installed is not None)

"""The time left: what small studies come to by hand, and how far off it is when a real one is played again."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from study.execution.display.time_left import ArmTimes, Ended, Running, seconds_left

PLAYED = Path(__file__).parent / "quickstart.json"


def ended(cost: float, seconds: float, overhead_s: float | None = 0.0) -> Ended:
    return Ended(cost=cost, seconds=seconds, overhead_s=overhead_s)


def arm(**values: Any) -> ArmTimes:
    return ArmTimes(**{"whole": 100.0, "cost_left": None, "trials_left": 4, **values})


def test_nothing_is_said_before_anything_is_known() -> None:
    assert seconds_left([arm()]) is None
    assert seconds_left([arm(running=[Running(cost=0, seconds=0)])]) is None
    assert seconds_left([arm(running=[Running(cost=10, seconds=0)])]) is None


def test_trials_that_are_left_cost_what_the_last_ones_did() -> None:
    # four more of 60 s each, for early stopping ends them at 60 of 100
    assert seconds_left([arm(ended=[ended(60, 60), ended(60, 60)])]) == pytest.approx(240)
    assert seconds_left([arm(ended=[ended(60, 60)], slots=2)]) == pytest.approx(120)
    # one of the four has spent 20 of its 60
    assert seconds_left([arm(ended=[ended(60, 60)], running=[Running(cost=20, seconds=20)])]) == pytest.approx(220)


def test_a_budget_by_cost_knows_no_early_stopping_but_the_overhead_of_more_trials() -> None:
    by_cost = arm(cost_left=600.0, trials_left=10_000, ended=[ended(60, 60)])
    assert seconds_left([by_cost]) == pytest.approx(600)
    assert seconds_left([replace(by_cost, ended=[ended(60, 60, 15.0)])]) == pytest.approx(600 + 10 * 15)


def test_the_start_of_a_process_that_is_kept_says_nothing_of_later_trials() -> None:
    first, later = ended(60, 60, None), ended(60, 60, 0.5)
    assert seconds_left([arm(ended=[first])]) == pytest.approx(240)
    assert seconds_left([arm(ended=[first, later])]) == pytest.approx(240 + 4 * 0.5)


def test_the_last_trials_count() -> None:
    slow, fast = [ended(100, 1000)] * 20, [ended(100, 100)] * 8
    assert seconds_left([arm(ended=[*slow, *fast])]) == pytest.approx(400)


def test_an_arm_without_a_trial_is_taken_by_its_cost() -> None:
    known = arm(trials_left=0, ended=[ended(50, 100)])  # 2 s a unit, trials end half-way
    assert seconds_left([known, arm(trials_left=2)]) == pytest.approx(200)
    assert seconds_left([known, arm(trials_left=2, whole=300.0)]) == pytest.approx(600)
    assert seconds_left([known, arm(trials_left=2, guess=0.75)]) == pytest.approx(150)
    # its own first steps say more
    assert seconds_left([known, arm(trials_left=1, running=[Running(cost=10, seconds=50)])]) == pytest.approx(40 * 5)


def test_more_slots_than_trials_leave_one_whole_trial() -> None:
    assert seconds_left([arm(trials_left=2, slots=8, ended=[ended(100, 100)])]) == pytest.approx(100)


def test_arms_wait_for_the_teacher_and_others_are_trained_beside_it() -> None:
    teacher = arm(trials_left=1, slots=2, whole=300.0, running=[Running(cost=100, seconds=100)])  # 200 s are left
    plain = arm(trials_left=1, slots=2, ended=[ended(100, 100)])
    taught = arm(trials_left=4, slots=2, waits=True)
    assert seconds_left([plain], teacher) == pytest.approx(200), "it is trained beside the teacher"
    assert seconds_left([plain, taught], teacher) == pytest.approx(200 + 400 / 2)
    more = replace(plain, trials_left=5)
    assert seconds_left([more, taught], teacher) == pytest.approx(200 + (500 / 2 - 200 / 2) + 400 / 2)
    alone = [replace(one, slots=1) for one in (plain, taught, teacher)]
    assert seconds_left(alone[:2], alone[2]) == pytest.approx(200 + 100 + 400)
    twins = [replace(plain, waits=waits) for waits in (False, True)]
    assert seconds_left(twins, teacher) == pytest.approx(200 + 100), "each counts, however alike they are"
    assert seconds_left([plain, taught]) == pytest.approx((100 + 400) / 2), "there is a teacher"


def test_arms_of_several_workers_take_more_of_the_cluster() -> None:
    small, large = arm(slots=4, ended=[ended(100, 100)]), arm(slots=1, trials_left=1, ended=[ended(100, 100)])
    assert seconds_left([small, large]) == pytest.approx(4 * 100 / 4 + 100)


@dataclass
class Played:
    """A study that ran, at any of its seconds; `quickstart.json` was made from its tables."""

    values: dict[str, Any]

    @property
    def ends_s(self) -> list[float]:
        """When trials of arms ended well, the teacher's aside."""
        return sorted(t["ended"] for t in self.values["trials"] if t["arm"] != "teacher")

    def times(self, name: str, now: float) -> ArmTimes:
        its, about = [t for t in self.values["trials"] if t["arm"] == name], self.values["arms"][name]
        done = sorted((t for t in its if t["ended"] <= now), key=lambda t: t["ended"])
        runs = [t for t in its if t["started"] <= now < t["ended"]]
        budget = about["budget"]
        return ArmTimes(
            whole=about["whole"],
            cost_left=None if budget is None else budget - sum(t["cost"] for t in done),
            trials_left=(1 if budget is None else 10_000) - len(done),
            slots=2,
            waits=about["waits"],
            guess=about["guess"],
            ended=[ended(t["cost"], t["seconds"], None if t["first"] else t["overhead_s"]) for t in done],
            running=[self._running(t, now) for t in runs],
        )

    @staticmethod
    def _running(trial: dict[str, Any], now: float) -> Running:
        # notes come every second; here the trial's speed is taken to be even, after its process has begun
        passed = max(0.0, now - trial["started"] - trial["overhead_s"])
        share = min(1.0, passed / trial["seconds"])
        return Running(cost=trial["cost"] * share, seconds=trial["seconds"] * share)

    def left(self, now: float) -> float:
        arms = [self.times(name, now) for name in self.values["arms"] if name != "teacher"]
        teacher = self.times("teacher", now)
        found = seconds_left(arms, teacher if teacher.trials_left else None)
        assert found is not None
        return found


@pytest.mark.parametrize("name", json.loads(PLAYED.read_text()))
def test_the_end_of_a_real_study_is_foreseen_once_three_trials_ran(name: str) -> None:
    """The quickstart, as its tables have it; until half its trials ran, for the last ones are few."""
    study = Played(json.loads(PLAYED.read_text())[name])
    ends = study.ends_s
    for now in ends[2 : len(ends) // 2]:
        assert study.left(now) == pytest.approx(ends[-1] - now, rel=0.25), f"at {now:.0f} s of {ends[-1]:.0f}"

"""What a verdict can say of the tuning: spends, gains, edges, rising curves, and arms that were not tuned equally."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analysis.studies.study import Study, open_study
from analysis.tuning import arm_tunings, spending_notes, tuning_caveats, undone_notes
from study.tables import REPORTS, TableWriter, trials_schema
from tests.analysis.small import NOON, PARAMETERS, Trial, write_study

LR, THRESHOLD = "train/optimizer/lr", "task/threshold"
SPACES = {
    "optimizer": {LR: {"type": "float", "low": 0.01, "high": 1.0, "log": True, "default": 0.1}},
    "rdd": {THRESHOLD: {"type": "float", "low": 0.5, "high": 0.9, "default": 0.7}},
}
ARMS = {
    "baseline": {"space": ["optimizer"]},
    "rdd": {"space": ["optimizer", "rdd"], "task": {"weighting": "rdd"}},
}


@dataclass(frozen=True, kw_only=True)
class Priced(Trial):
    """A trial with its cost in whole trials."""

    cost: float | None = 1.0

    @property
    def row(self) -> dict[str, Any]:
        return {**super().row, "cost_trials": self.cost, "cost": self.cost}


def caveats_of(study: Study) -> tuple[str, ...]:
    return tuning_caveats(study, arm_tunings(study))


def notes_of(study: Study) -> tuple[str, ...]:
    return spending_notes(study, arm_tunings(study))


def searched(arm: str, *, gains: list[float], cost: float | None = 1.0, **last: Any) -> list[Trial]:
    """A search of an arm that begins at the defaults; its last trial may have other parameters."""
    values = {LR: 0.1, **({THRESHOLD: 0.7} if arm == "rdd" else {})}
    return [
        Priced(arm=arm, number=n, gain=gain, cost=cost, parameters=values if n == 0 else {**values, LR: 0.3, **last})
        for n, gain in enumerate(gains)
    ]


def study(folder: Path, trials: list[Trial], **config: Any) -> Study:
    config = {"arms": ARMS, "spaces": SPACES, "startup_trials": 2, "tuning_rules": 2, **config}
    return open_study(write_study(folder, trials, **config))


EQUAL = [*searched("baseline", gains=[0, 2, 4]), *searched("rdd", gains=[0, 1, 6], cost=1.1)]


def test_equal_spaces_and_costs_raise_no_doubt(tmp_path: Path) -> None:
    found = study(tmp_path, EQUAL)
    assert caveats_of(found) == ()
    baseline, rdd = arm_tunings(found)
    assert (baseline.arm, baseline.trials, baseline.complete, baseline.startup) == ("baseline", 3, 3, 2)
    assert (baseline.spent, rdd.spent) == (pytest.approx(3.0), pytest.approx(3.3))
    assert baseline.gain == pytest.approx(EQUAL[2].score("last") - EQUAL[0].score("last"))
    assert notes_of(found)[1].startswith(
        "rdd spent 3.30 whole trials of the plain student: 3 trials, 2 of them startup, 3 finished; searched "
        "threshold, optimizer/lr; tuning gave +"
    )
    assert len(notes_of(found)) == 2, "nothing of former rules"


def test_what_failed_is_not_spent_and_what_was_stopped_is(tmp_path: Path) -> None:
    lost = Priced(arm="baseline", number=3, state="FAIL", cost=0.7, parameters={LR: 0.2})
    stopped = Priced(arm="baseline", number=4, state="PRUNED", cost=0.25, parameters={LR: 0.2})
    baseline, _ = arm_tunings(study(tmp_path, [*EQUAL, lost, stopped]))
    assert (baseline.spent, baseline.trials, baseline.complete) == (pytest.approx(3.25), 4, 3)


def test_unequal_cost_is_said_above_twenty_percent(tmp_path: Path) -> None:
    dear = [*searched("baseline", gains=[0, 2, 4]), *searched("rdd", gains=[0, 1, 6], cost=1.25)]
    assert caveats_of(study(tmp_path, dear)) == (
        "not at equal cost: rdd spent 3.8 whole trials of the plain student, and baseline 3.0",
    )


def test_a_shared_parameter_that_one_arm_does_not_search_is_unequal_tuning(tmp_path: Path) -> None:
    arms = {**ARMS, "rdd": {**ARMS["rdd"], "space": ["rdd"]}}
    assert caveats_of(study(tmp_path / "one", EQUAL, arms=arms)) == (f"rdd did not search {LR}, which baseline did",)
    wider = {**SPACES, "wide": {LR: {**SPACES["optimizer"][LR], "high": 2.0}}}
    arms = {**ARMS, "rdd": {**ARMS["rdd"], "space": ["wide", "rdd"]}}
    ranges = caveats_of(study(tmp_path / "two", EQUAL, arms=arms, spaces=wider))
    assert ranges == (f"the arms searched {LR} in different ranges",)


def test_the_edge_of_a_range_is_measured_on_its_scale(tmp_path: Path) -> None:
    trials = [*searched("baseline", gains=[0, 5], **{LR: 0.85}), *searched("rdd", gains=[0, 5], **{LR: 0.05})]
    found = study(tmp_path, trials)
    baseline, rdd = arm_tunings(found)
    assert [(edge.path, edge.value) for edge in baseline.edges] == [(LR, 0.85)]
    assert rdd.edges == (), "0.05 of 0.01 to 1 is far from the edge in the logarithm"
    assert undone_notes(arm_tunings(found)) == (
        "baseline: the best trial lies at the edge of what was searched, optimizer/lr 0.85 of [0.01, 1]",
    )


@pytest.mark.parametrize(
    ("curve", "rise"),
    [([10, 20, 30, 40, 45], 5.0), ([10, 20, 30, 40, 40.3], None), ([10, 20, 45, 40, 41], None), ([40], None)],
)
def test_a_curve_that_still_rises_at_its_end(tmp_path: Path, curve: list[float], rise: float | None) -> None:
    found = study(tmp_path, EQUAL)
    row = {"arm": "rdd", "trial": 2, "attempt": 1, "time": NOON, "seconds": 1.0}
    with TableWriter(tmp_path / "tables", REPORTS) as writer:
        step = 40 // len(curve)
        writer.append([{**row, "iteration": (n + 1) * step, "miou_percent": miou} for n, miou in enumerate(curve)])
    assert arm_tunings(found)[1].rise == rise


def test_an_older_study_says_by_which_rules_it_was_tuned(tmp_path: Path) -> None:
    trials = [*searched("baseline", gains=[0, 2, 4], cost=None), *searched("rdd", gains=[0, 1], cost=None)]
    found = study(tmp_path, trials)
    older = Study(found.folder, {key: value for key, value in found.config.items() if key != "tuning_rules"})
    assert caveats_of(older) == ("arms had from 2 to 3 trials, and more trials find better ones",)
    assert "began before costs were priced" in notes_of(older)[-1]
    assert arm_tunings(older)[0].spent is None


def test_repeated_settings_were_not_tuned(tmp_path: Path) -> None:
    seeds = [Trial(arm="kd", number=n, parameters={"replicate": n}) for n in range(2)]
    assert [one.arm for one in arm_tunings(study(tmp_path, [*EQUAL, *seeds]))] == ["baseline", "rdd"]


def test_tables_without_the_columns_are_read(tmp_path: Path) -> None:
    schema = trials_schema(PARAMETERS)
    for name in ("cost", "cost_trials", "stopped_by"):
        schema = schema.remove(schema.get_field_index(name))
    found = study(tmp_path, EQUAL)
    place = tmp_path / "older"
    place.mkdir()
    (place / "study.json").write_text((tmp_path / "study.json").read_text())
    with TableWriter(place / "tables", schema) as writer:
        writer.append([{k: v for k, v in trial.row.items() if k in schema.names} for trial in EQUAL])
    assert [one.spent for one in arm_tunings(open_study(place))] == [None, None]
    assert [one.tuned for one in arm_tunings(open_study(place))] == [one.tuned for one in arm_tunings(found)]

"""Prices: what of a trial shapes its cost, and how long a matched arm trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.configuration.config import StudyConfig
from study.configuration.prices import count_operations, plain_trial, price_arms, priced_trial, teacher_network
from study.configuration.tuning import BudgetConfig
from trainers.config import ConfigError

Reader = Callable[..., StudyConfig]
KD = {"space": ["optimizer", "kd"], "methods": {"kd": {}}, "trials": 2}
BASELINE = {"space": "optimizer", "trials": 2}


def space_file(folder: Path, **entries: Any) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({name.replace("__", "/"): entry for name, entry in entries.items()}))
    return str(path)


def test_only_what_changes_the_operations_shapes_a_price(config: Reader, tmp_path: Path) -> None:
    batch = {"type": "int", "low": 2, "high": 8, "default": 4}
    freeze = {"type": "categorical", "choices": [False, True], "default": False}
    own = space_file(tmp_path, train__batch=batch, train__freeze_batch_norm=freeze)
    arms = {"baseline": BASELINE, "kd": {**KD, "space": ["optimizer", "kd", own]}}
    study = config(arms=arms, compares=["train/batch"])
    prices = price_arms(study)
    assert prices["baseline"].shaping == () and prices["kd"].shaping == ("train/batch",)
    kd = prices["kd"]
    (usual,) = kd.iteration.values()
    assert usual > prices["baseline"].plain == prices["baseline"].iteration["[]"]
    # a value that was not foreseen is priced when it is drawn
    values = {**study.space("kd").defaults(), "train/batch": 8}
    doubled = kd.with_price(study, "kd", values)
    assert doubled.iteration[doubled.key(values)] == pytest.approx(2 * usual, rel=0.01)
    assert doubled.with_price(study, "kd", values) is doubled


def test_all_choices_that_shape_are_priced_from_the_start(config: Reader) -> None:
    study = config()
    rdd = price_arms(study)["rdd"]
    assert rdd.shaping == ("task/tfe_fraction",)
    assert set(rdd.iteration) == {"[0.0]", "[0.1]", "[0.2]", "[0.3]", "[1.0]"}
    assert max(rdd.iteration.values()) < 1.05 * min(rdd.iteration.values())


def test_a_price_does_not_depend_on_seed_or_load(config: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    first = price_arms(config(arms={"kd": KD}))
    monkeypatch.setattr("study.configuration.prices._counts", {})
    assert price_arms(config(arms={"kd": KD}, seed=9)) == first


def test_measured_seconds_replace_operations(config: Reader) -> None:
    study = config(arms={"baseline": BASELINE, "kd": KD}, price="measured")
    prices = price_arms(study, lambda trials, teacher: {name: 2.0 if name == "kd" else 0.5 for name in trials})
    assert (prices["kd"].unit, prices["kd"].iteration, prices["kd"].plain) == ("seconds", {"[]": 2.0}, 0.5)
    budgets = [prices["kd"].budget(BudgetConfig(**one)) for one in ({"seconds": 7}, {"iterations": 4})]
    assert budgets == [7.0, 2.0]
    assert prices["kd"].budget(BudgetConfig(whole_trials=3)) == 3 * 0.5 * study.train.iterations


def test_a_matched_arm_trains_as_long_as_the_other_costs(config: Reader) -> None:
    study = config(arms={"baseline": BASELINE, "long": {**BASELINE, "matched": "kd"}, "kd": KD})
    teacher = teacher_network(study)
    kd = count_operations(priced_trial(study, "kd", {}), teacher) * study.train.iterations
    plain = count_operations(plain_trial(study), None)
    iterations = study.iterations_of("long")
    assert iterations > study.iterations_of("baseline") == study.train.iterations
    assert abs(iterations * plain - kd) <= plain / 2
    trial = study.trial("long", study.space("long").defaults(), None)
    assert trial.train.iterations == iterations
    # its rungs are the same shares of its own length
    assert study.grace("long") == round(study.grace("baseline") * iterations / study.train.iterations)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"arms__kd": {**KD, "matched": "baseline"}}, "arms.kd.matched: is for an arm without methods"),
        ({"arms__baseline": {**BASELINE, "matched": "none"}}, "arms.baseline.matched: must be another arm"),
        (
            {"budget": {"whole_trials": 2, "iterations": 3}},
            "budget: must name one of",
        ),
        ({"budget": {"seconds": 2}}, "budget.seconds: needs price: measured, but got price: operations"),
        ({"arms__kd": {k: v for k, v in KD.items() if k != "trials"}}, "arms.kd.trials: is required"),
        ({"arms__seeds": {"trials": 2, "budget": {"whole_trials": 1}}}, "arms.seeds.budget: is for arms that search"),
        ({"arms__seeds": {}, "budget": {"whole_trials": 1}}, "arms.seeds.trials: is required"),
        ({"arms__rdd__space": "rdd", "search": {"sampler": "grid"}}, "search.sampler: grid must have parameters that"),
    ],
)
def test_budgets_and_matches_that_mean_nothing_are_refused(config: Reader, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**{"arms__kd": KD, **changes})
    assert any(found.startswith(fault) for found in caught.value.faults), caught.value.faults


def test_what_only_some_arms_search_of_the_shared_parameters_is_named(config: Reader) -> None:
    assert config(arms={"baseline": BASELINE, "kd": KD}).unequal_parameters() == {}
    unequal = config(arms={"baseline": BASELINE, "kd": {**KD, "space": "kd"}}).unequal_parameters()
    assert unequal == {path: ["baseline"] for path in ("train/optimizer/lr", "train/optimizer/weight_decay")}

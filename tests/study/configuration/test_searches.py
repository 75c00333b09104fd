"""`searches: N`: an arm is searched several times, and everything knows that the searches are of one arm."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.configuration.loading import load
from study.configuration.searches import named_arms, with_searches
from study.execution.recording import recorder
from study.folder import create_study, read_config
from study.ledger.ledger import open_arms
from study.ledger.spending import keep_prices, read_prices
from tests.study.configuration.test_config import faults
from tests.study.conftest import tiny
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import ConfigError, canonical_json, parse

Reader = Callable[..., StudyConfig]
REPEATED = {"trials": 3, "fixed": {"train/optimizer/lr": 0.1}}


def test_an_arm_that_searches_becomes_an_arm_for_each_search(config: Reader) -> None:
    study = config(searches=3, arms__repeated=REPEATED)
    assert list(study.arms) == [
        "baseline", "baseline-search2", "baseline-search3", "rdd", "rdd-search2", "rdd-search3", "repeated",
    ]  # fmt: skip
    assert {name: arm.search_of for name, arm in study.arms.items() if arm.search_of} == {
        "baseline-search2": "baseline", "baseline-search3": "baseline", "rdd-search2": "rdd", "rdd-search3": "rdd",
    }  # fmt: skip
    assert study.arms["rdd-search2"].trials == 4 and study.space("rdd-search2") == study.space("rdd")
    assert with_searches(study) == study


def test_one_search_is_the_study_as_it_was(config: Reader) -> None:
    assert config(searches=1) == config() and list(config().arms) == ["baseline", "rdd"]
    old = json.loads(canonical_json(config()))
    for name in ("searches", "groups", "planned_seeds", "equivalence_points"):
        del old[name]
    for arm in old["arms"].values():
        del arm["search_of"]
    assert parse(StudyConfig, old) == config(), "a study from before these fields is read as it was"


def test_searches_begin_alike_and_then_differ(config: Reader, tmp_path: Path) -> None:
    own = {"train/optimizer/lr": 0.02, "train/optimizer/weight_decay": 0.001}
    study = config(searches=2, arms__baseline__enqueue=[own], arms__baseline__trials=4)
    arms = open_arms(study, tmp_path, with_teacher=False)
    first, second = ([arm.ask() for _ in range(4)] for arm in (arms["baseline"], arms["baseline-search2"]))
    values = [[asked.values for asked in search if asked is not None] for search in (first, second)]
    assert values[0][:2] == values[1][:2], "the defaults, and what the file enqueues"
    assert all(one != other for one, other in zip(values[0][2:], values[1][2:], strict=True))


def test_a_name_stands_for_all_searches_of_its_arm(config: Reader) -> None:
    study = config(searches=2)
    assert named_arms(study, ["rdd"]) == ("rdd", "rdd-search2")
    assert named_arms(study, ["rdd-search2"]) == ("rdd-search2",) and named_arms(study, []) == ()
    changed = Changes(trials=9, arms=("rdd",)).apply(study)
    assert {name: arm.trials for name, arm in changed.arms.items()} == {
        "baseline": 2, "baseline-search2": 2, "rdd": 9, "rdd-search2": 9,
    }  # fmt: skip


def test_searches_may_be_added_and_not_taken_away(config: Reader) -> None:
    study = Changes(sets=("arms.rdd.trials=6",)).apply(config(searches=2))
    more = Changes(sets=("searches=3",)).apply(study)
    assert more.arms["rdd-search3"].trials == 6 and more.arms["rdd-search2"].trials == 4
    with pytest.raises(ConfigError, match=r"searches: must stay 3 .* but got 2: the searches that it has stay"):
        Changes(sets=("searches=2",)).apply(more)


def test_added_searches_join_the_ledger_of_a_study(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)
    folder = tmp_path / "study"
    create_study(config(), folder)
    Driver(read_config(folder), folder).tables.close()
    again = Driver(Changes(sets=("searches=2",)).apply(read_config(folder)), folder)
    assert set(again.arms) == {"baseline", "baseline-search2", "rdd", "rdd-search2"}
    again.tables.close()


def test_an_added_search_costs_what_the_first_does(config: Reader, tmp_path: Path) -> None:
    study = config(budget={"whole_trials": 3}).with_spaces()
    first = open_arms(study, tmp_path, with_teacher=False)["rdd"].study
    prices = read_prices(first.user_attrs)
    assert prices is not None
    measured = replace(prices, scale=2 * prices.scale)  # as another measurement might have it
    keep_prices(first, measured)
    more = Changes(sets=("searches=2", "arms.rdd.budget.whole_trials=5")).apply(study)
    again = open_arms(more, tmp_path, with_teacher=False)
    assert [read_prices(again[name].study.user_attrs) for name in ("rdd", "rdd-search2")] == [measured] * 2
    longer = Changes(sets=("arms.rdd.budget.whole_trials=9",)).apply(more)
    assert longer.arms["rdd-search2"].budget != longer.arms["rdd"].budget, "each search may go on by itself"


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to search": (
        {"searches": 2, "arms": {"repeated": REPEATED}},
        "searches: is for arms with a space, but got 2 and no arm has one; leave it out, and raise `trials` for more "
        "seeds",
    ),
    "a name that is taken": (
        {"searches": 2, "arms__rdd-search2": {"trials": 1, "space": "optimizer"}},
        "arms.rdd-search2: this is the name of a further search of rdd, but the arm is another; call it something "
        "else, or put it back as it was",
    ),
    "written by hand": (
        {"arms__rdd__search_of": "baseline"},
        "arms.rdd.search_of: is filled in by `searches`, but got 'baseline'; leave it out, and set `searches` to how "
        "often each arm is to be searched",
    ),
    "a long name": (
        {"searches": 2, f"arms__{'a' * 58}": {"trials": 1, "space": "optimizer"}},
        f"arms.{'a' * 58}: the name of a search has at most 60 characters, but {'a' * 58}-search2 has 66; shorten the "
        "arm's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_what_to_do(config: Reader, fault: str) -> None:
    changes, message = FAULTS[fault]
    assert faults(config, **changes) == [message]


def test_a_fault_of_an_arm_is_told_once(config: Reader) -> None:
    assert len(faults(config, searches=3, arms__rdd__space="optimiser")) == 1


def test_a_change_by_hand_cannot_pass_for_a_search(config: Reader) -> None:
    arm = '{"trials": 1, "space": ["optimizer"], "search_of": "rdd"}'
    with pytest.raises(ConfigError, match=r"arms.own.search_of: is filled in by `searches`"):
        Changes(sets=(f"arms.own={arm}",)).apply(config())


def test_one_arm_is_searched_several_times_alone(study_file: Callable[..., Path]) -> None:
    assert list(load(str(study_file(searches=2)), arms=["rdd"]).arms) == ["rdd", "rdd-search2"]
    assert "searches" not in tiny()

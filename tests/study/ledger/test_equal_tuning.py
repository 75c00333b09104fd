"""A method that does nothing is tuned as well as the baseline: searches of synthetic curves through the ledger."""

from pathlib import Path

from tests.benchmarks.tuning import OURS, Landscape, do_nothing, in_memory, regrets, run_arms, study


def test_methods_that_do_nothing_end_where_the_baseline_does_at_the_same_cost() -> None:
    """The benchmark has more searches, within 0.3 points; so few are held to what chance leaves of that."""
    for name, found in do_nothing(16).items():
        assert abs(found["points"]) < 0.3 + 2 * found["standard_error"], name
        assert found["standard_error"] < 0.3
        assert found["spend_differs"] < 0.05


def test_a_driver_killed_in_between_leaves_the_same_searches(tmp_path: Path) -> None:
    landscape, config = Landscape.drawn(3), study(3, whole_trials=6)
    with in_memory():
        undisturbed = run_arms(config, tmp_path / "one", landscape)
        assert run_arms(config, tmp_path / "many", landscape, kill_every=3) == undisturbed
    spends = [search.spent for search in undisturbed.values()]
    assert max(spends) < 1.05 * min(spends)


def test_the_default_is_among_the_strategies_and_no_worse_than_random() -> None:
    config = study(0)
    assert OURS["tpe + halving"] == {"search": config.search, "pruning": config.pruning}
    found = regrets("baseline", 4, ["tpe + halving", "random"])
    ours, chance = (sum(found[name]["20"]) / 4 for name in ("tpe + halving", "random"))
    assert 0 <= ours < chance

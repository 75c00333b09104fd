"""Parameters that do nothing are shown as rarely as chance allows, and those that decide are."""

import numpy as np
import pyarrow as pa

from analysis.importance import Importance, importance, standing_out


def asked(rng: np.random.Generator, trials: int, effect: float) -> Importance:
    """An arm with four parameters, the first of which moves mIoU by so many points from end to end."""
    columns = {f"param/p{n}": rng.random(trials) for n in range(4)}
    scores = 50 + effect * columns["param/p0"] + rng.normal(0, 1, trials)
    numbers = {"arm": ["a"] * trials, "trial": list(range(trials))}
    reports = pa.table({**numbers, "iteration": [10] * trials, "miou_percent": scores})
    return importance(pa.table({**numbers, **columns}), reports, "a")


def test_of_a_dozen_trials_parameters_that_do_nothing_are_not_shown() -> None:
    rng = np.random.default_rng(0)
    found = [asked(rng, 12, effect=0.0) for _ in range(30)]
    shown = [one for one in found if one.shares]
    assert len(shown) <= 4  # 1.5 on average
    silent = next(one for one in found if not one.shares)
    assert silent.reason == "a: no parameter stands out of what chance gives 12 trials at iteration 10."
    assert silent.chance == ("p0", "p1", "p2", "p3")


def test_of_many_trials_the_parameter_that_decides_is_shown() -> None:
    found = asked(np.random.default_rng(1), 60, effect=10.0)
    assert list(found.shares) == ["p0"] and found.shares["p0"] > 0.5
    assert (found.chance, found.reason) == (("p1", "p2", "p3"), "")


def test_chance_is_kept_for_all_parameters_at_once() -> None:
    """Also of parameters whose importances are of different size."""
    rng = np.random.default_rng(2)
    sizes = np.array([1e-3, 1.0, 50.0, 1.0, 1.0, 1.0])
    shown = [standing_out(rng.exponential(sizes, (40, 6))).any() for _ in range(1000)]
    assert np.mean(shown) < 0.07
    assert not standing_out(np.ones((40, 3))).any()
    clear = rng.exponential(sizes, (40, 6))
    clear[0, 2] = 1e4
    assert standing_out(clear).tolist() == [False, False, True, False, False, False]

"""What several planned trials read of a teacher, and what of it is worth its space."""

from collections.abc import Mapping
from typing import cast

import pytest

from study.configuration.recordings.readers import Readers
from study.configuration.recordings.shared import SharedOutputs, replayed
from trainers.config import TrialConfig

ANY = cast(TrialConfig, None)
BYTES = {"logits": 10, "aux": 10, "features": 100}


def outputs(*readers: tuple[float, Mapping[str, int]]) -> SharedOutputs:
    """Of so many trials that each read these taps."""
    return SharedOutputs([Readers(ANY, "key", taps, trials) for trials, taps in readers], BYTES)


@pytest.mark.parametrize(
    ("recorded", "iterations"),
    [
        ({}, 0),
        ({"logits": 10, "aux": 4}, 10),
        ({"logits": 10}, 6),  # while it reads aux too, half of it is not enough
        ({"aux": 4}, 0),
        ({"logits": 10, "aux": 3}, 9),
        ({"logits": 7, "aux": 2}, 5),
        ({"logits": 99, "aux": 99, "features": 99}, 10),
    ],
)
def test_an_iteration_is_replayed_where_all_is_there_that_is_read_then(
    recorded: Mapping[str, int], iterations: int
) -> None:
    assert replayed({"logits": 10, "aux": 4}, recorded) == iterations


def test_a_tap_is_recorded_up_to_where_two_trials_read_it() -> None:
    alone = outputs((1, {"logits": 10, "aux": 4}))
    assert (alone.shared_taps(), alone.read_taps()) == ({}, {"logits": 10, "aux": 4})
    two = outputs((1, {"logits": 10, "aux": 4}), (1, {"logits": 8}))
    assert (two.shared_taps(), two.read_taps()) == ({"logits": 8}, {"logits": 10, "aux": 4})
    # a fifth of ten trials stay in the first stage to the end, a fifth of five do not come to two
    for trials, aux in ((10, 10), (5, 3)):
        shares = [(trials / 5, {"logits": 10, "aux": stop}) for stop in (0, 1, 2, 3, 10)]
        assert outputs(*shares).shared_taps() == {"logits": 10, "aux": aux}


def test_of_what_does_not_fit_the_part_is_recorded_that_spares_most_steps() -> None:
    readers = outputs((6, {"logits": 10}), (3, {"features": 10}), (4, {"logits": 10, "aux": 5}))
    all_of_it = readers.shared_taps()
    assert all_of_it == {"logits": 10, "aux": 5, "features": 10} and readers.size(all_of_it) == 100 + 50 + 1000
    assert readers.fitting(all_of_it, 1150) == all_of_it
    assert readers.fitting(all_of_it, 1149) == {"logits": 10, "features": 10}
    assert readers.fitting(all_of_it, 1099) == {"logits": 10, "aux": 5}
    assert readers.fitting(all_of_it, 149) == {"logits": 10}
    assert readers.fitting(all_of_it, 99) == {}

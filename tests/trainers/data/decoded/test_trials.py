"""Trials with and without copies of decoded images: the same weights, counts and metrics, bit for bit."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers import small
from tests.trainers.stops import ending, equal, reproducible, stopped
from trainers.context import LocalContext
from trainers.data import streets
from trainers.data.decoded.plan import DecodedPlan
from trainers.loop import train


@pytest.mark.parametrize(
    "changes", [{}, {"augment/version": 2, "data/train_images": 16, "holdout": 0.3, "evaluate_on": "holdout"}]
)
def test_copies_change_no_bit_of_a_trial(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = DecodedPlan(folder=str(tmp_path / "decoded"))
    live = LocalContext(tmp_path / "live")
    train(small.trial(changes), live)
    for name, loader_workers in (("first", 0), ("second", 1)):
        context = LocalContext(tmp_path / name)
        train(small.trial(changes), context, decoded=plan, loader_workers=loader_workers)
        assert [reproducible(report) for report in context.reports] == [reproducible(r) for r in live.reports]
        assert equal(ending(context.folder), ending(live.folder))
        monkeypatch.setattr(streets.Dataset, "load", pytest.fail)  # the second has no image to draw


def test_a_trial_that_was_stopped_goes_on_from_copies_with_the_same_bits(tmp_path: Path) -> None:
    live, again = LocalContext(tmp_path / "live"), LocalContext(tmp_path / "trial")
    train(small.trial(), live)
    stopped({}, tmp_path / "trial", at=3)
    train(small.trial(), again, decoded=DecodedPlan(folder=str(tmp_path / "decoded")))
    assert equal(ending(again.folder), ending(live.folder))


def test_what_is_wrong_with_copies_is_a_warning_of_the_trial(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="decoded images must be kept where files can be written") as found:
        train(
            small.trial({"train/iterations": 1}),
            LocalContext(tmp_path / "trial"),
            decoded=DecodedPlan(folder=str(tmp_path / "file")),
        )
    assert sum("decoded images" in str(warning.message) for warning in found) == 1

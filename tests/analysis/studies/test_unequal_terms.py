"""What a study compares on unequal terms is said of it, arm by arm."""

from typing import Any

import pytest

from analysis.studies.unequal_terms import unequal_terms

CONFIG: dict[str, Any] = {
    "seed": 3,
    "train": {"iterations": 4, "batch": 2},
    "arms": {
        "plain": {},
        "long": {"fixed": {"train/iterations": 40, "train/optimizer/lr": 1}},
        "free": {"space": ["own"], "fixed": {}},
    },
    "spaces": {"own": {"train/batch": {"type": "int"}, "data_seed": {"type": "int"}}},
}
OPENING = "the arms are not on equal terms: the study compares "


@pytest.mark.parametrize(
    ("compares", "expected"),
    [
        ([], []),
        (["train/iterations"], ["train/iterations (plain 4, long 40, free 4)"]),
        (
            ["train/batch", "data_seed"],
            ["data_seed (plain 3, long 3, free searched)", "train/batch (plain 2, long 2, free searched)"],
        ),
        (["augment"], []),
    ],
)
def test_every_path_that_differs_is_named_with_what_each_arm_has(compares: list[str], expected: list[str]) -> None:
    assert unequal_terms({**CONFIG, "compares": compares}) == tuple(OPENING + line for line in expected)


def test_a_matched_arm_is_named_with_its_length() -> None:
    arms = {**CONFIG["arms"], "long": {"matched": "free", "fixed": {"train/iterations": 9}}}
    assert unequal_terms({**CONFIG, "arms": arms}) == ("long trains 9 iterations, at the cost of a trial of free",)


def test_a_study_from_before_there_were_comparisons_has_none() -> None:
    assert unequal_terms(CONFIG) == ()

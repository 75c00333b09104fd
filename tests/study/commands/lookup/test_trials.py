"""Which trial a command takes that is given none: the best one among those that keep the bounds of the search."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from study.commands.lookup.trials import find_trial
from study.configuration.config import TEACHER, StudyConfig
from study.tables import TableWriter, trials_schema

Reader = Callable[..., StudyConfig]
NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)


def ended(arm: str, number: int, miou: float, latency: float | None, state: str = "COMPLETE") -> dict[str, Any]:
    return {
        "arm": arm, "trial": number, "state": state, "attempts": 1, "iterations": 12, "budget": 12, "seconds": 1.0,
        "gpu_seconds": 0.0, "config": "{}", "config_hash": "", "started": NOON, "ended": NOON,
        "last_miou_percent": miou, "best_miou_percent": miou, "best_iteration": 12, "latency_ms": latency,
    }  # fmt: skip


TRIALS = [
    ended("baseline", 0, 40.0, 2.0),
    ended("baseline", 1, 60.0, 9.0),
    ended("rdd", 0, 50.0, 5.0),
    ended("rdd", 1, 70.0, None),
    ended("rdd", 2, 80.0, 1.0, state="PRUNED"),
    ended(TEACHER, 0, 90.0, None),
]


@pytest.fixture
def found(config: Reader, tmp_path: Path) -> Callable[..., tuple[str, int]]:
    """The trial that is taken within these bounds."""
    with TableWriter(tmp_path / "tables", trials_schema({})) as writer:
        writer.append(TRIALS)

    def of(*constraints: str, trial: str | None = None, arm: str | None = None) -> tuple[str, int]:
        study = config(search={"constraints": list(constraints)}, pruning={"kind": "none"})
        row = find_trial(study, tmp_path, trial, arm)
        return row["arm"], row["trial"]

    return of


def test_the_best_trial_keeps_the_bounds(found: Callable[..., tuple[str, int]]) -> None:
    assert found() == ("rdd", 1)
    assert found("latency_ms <= 5") == ("rdd", 0)  # what has no value keeps no bound of it
    assert found("latency_ms <= 5", arm="baseline") == ("baseline", 0)
    assert found("latency_ms <= 5", "miou <= 45") == ("baseline", 0)


def test_bounds_are_not_the_teachers_nor_of_a_trial_that_is_named(found: Callable[..., tuple[str, int]]) -> None:
    assert found("latency_ms <= 5", arm=TEACHER) == (TEACHER, 0)
    assert found("latency_ms <= 5", trial="baseline-1") == ("baseline", 1)


def test_where_none_keeps_them_the_bounds_are_named(found: Callable[..., tuple[str, int]]) -> None:
    with pytest.raises(ValueError, match=r"no finished trial keeps latency_ms <= 1; name one with --trial ARM-N"):
        found("latency_ms <= 1")
    with pytest.raises(ValueError, match=r"no finished trial of rdd keeps latency_ms <= 2, miou >= 3; name one"):
        found("latency_ms <= 2", "miou >= 3", arm="rdd")

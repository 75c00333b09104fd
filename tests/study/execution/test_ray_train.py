"""What a trial reports again after it died, and whose failure is its own; Ray Train is met in tests/e2e."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.train import WorkerGroupError

from study.execution.ray_train import permanent_error, report_again
from trainers.checkpoints.folder import FolderCheckpoints
from trainers.checkpoints.manifest import EARLIER, METRICS, READERS
from trainers.worker import PermanentError


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", found.append)
    return found


def write(place: Path, iteration: int, earlier: tuple[int, ...] | None) -> None:
    report: dict[str, Any] = {"iteration": iteration}
    if earlier is not None:
        report[EARLIER] = [{"iteration": number} for number in earlier]
    checkpoints = FolderCheckpoints(place)
    checkpoints.write(
        {**dict.fromkeys(READERS, b""), METRICS: json.dumps(report).encode()}, iteration=iteration, best=3
    )
    checkpoints.add(iteration=iteration, best=3)


def iterations(reported: list[dict[str, Any]], place: Path) -> list[int]:
    found = [int(report["iteration"]) for report in reported]
    checkpoints = FolderCheckpoints(place)
    assert reported == [{"iteration": number, "checkpoint": checkpoints.of(number)} for number in found]
    return found


def test_reports_whose_checkpoints_are_gone_are_made_again_in_their_order(
    tmp_path: Path, reported: list[dict[str, Any]]
) -> None:
    write(tmp_path, 4, (1, 2, 3))
    write(tmp_path, 5, (2, 3, 4))
    report_again(str(tmp_path))
    assert iterations(reported, tmp_path) == [1, 2, 3, 4, 5]


def test_a_damaged_checkpoint_leaves_those_of_the_one_before(tmp_path: Path, reported: list[dict[str, Any]]) -> None:
    write(tmp_path, 4, (1, 2, 3))
    write(tmp_path, 5, (2, 3, 4))
    (tmp_path / "checkpoint_000000005" / METRICS).write_text("{")
    report_again(str(tmp_path))
    assert iterations(reported, tmp_path) == [1, 2, 3, 4]


def test_checkpoints_of_earlier_versions_have_one_report_each(tmp_path: Path, reported: list[dict[str, Any]]) -> None:
    write(tmp_path, 4, None)
    write(tmp_path, 5, None)
    report_again(str(tmp_path))
    assert iterations(reported, tmp_path) == [4, 5]


def test_a_trial_without_a_checkpoint_reports_nothing(tmp_path: Path, reported: list[dict[str, Any]]) -> None:
    report_again(str(tmp_path))
    assert reported == []


def test_what_one_rank_would_only_repeat_ends_the_trial_whatever_the_others_met() -> None:
    found = pickle.loads(pickle.dumps(PermanentError("OutOfMemoryError: CUDA out of memory", 512.0)))
    collective = RuntimeError("Connection closed by peer")
    error = WorkerGroupError("rank 0: ...", {0: collective, 1: found})
    assert permanent_error(WorkerGroupError("rank 0: ...", {0: collective})) is None
    permanent = permanent_error(error)
    assert permanent is not None
    assert (str(permanent), permanent.peak_mib) == ("OutOfMemoryError: CUDA out of memory", 512.0)

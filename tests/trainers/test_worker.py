"""What a rank under Ray tells beside its metrics, without Ray."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch

from tests.trainers import small
from trainers.context import LocalContext
from trainers.teachers.recordings.plan import RecordingPlan
from trainers.worker import CHECKPOINT, WARNING, InlineContext, RayTrainContext, attempt, reserved_device


def test_every_report_names_its_checkpoint_and_the_first_what_was_passed_over(tmp_path: Path) -> None:
    values = small.values({"train/evaluate_every": 2})
    told: list[dict[str, Any]] = []
    attempt(values, InlineContext(tmp_path, told.append), 0)
    assert [Path(report[CHECKPOINT]).name for report in told] == [
        f"checkpoint_{iteration:09d}" for iteration in (2, 4, 6, 7)
    ]
    assert not any(WARNING in report for report in told)
    for path in LocalContext(tmp_path).checkpoints()[-2:]:
        (path / "metrics.json").unlink()
    again: list[dict[str, Any]] = []
    with pytest.warns(UserWarning, match="metrics.json cannot be read"):
        attempt(values, InlineContext(tmp_path, again.append), 0)
    assert f"{tmp_path}/checkpoint_000000007/metrics.json cannot be read" in again[0][WARNING]
    assert len(again) > 1 and not any(WARNING in report for report in again[1:])


def test_a_node_that_does_not_see_the_study_is_named(tmp_path: Path) -> None:
    context = RayTrainContext.__new__(RayTrainContext)  # only Ray Train can make a whole one
    LocalContext.__init__(context, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"every node must see the study's folder, but .* has no .*elsewhere; put"):
        context.latest_checkpoint().__enter__()


def test_the_device_is_what_was_reserved_whatever_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray shows a node's GPUs also to those that asked for none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: [])
    assert reserved_device() == torch.device("cpu")
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: ["3"])
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cuda:1"))
    shares: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *share: shares.append(share))
    for share in (1.0, 0.25):
        reserved = SimpleNamespace(get_assigned_resources=lambda share=share: {"CPU": 4.0, "GPU": share})
        monkeypatch.setattr(ray, "get_runtime_context", lambda reserved=reserved: reserved)
        assert reserved_device() == torch.device("cuda:1")
    assert shares == [(0.25, torch.device("cuda:1"))]


def test_a_worker_on_the_cpu_makes_no_cuda_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def initialise() -> None:
        raise AssertionError("CUDA is initialised")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", initialise)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *device: initialise())
    told: list[dict[str, Any]] = []
    outcome = attempt(small.values({"train/iterations": 2}), InlineContext(tmp_path, told.append), 0)
    assert "error" not in outcome and told[-1]["iteration"] == 2


def test_a_recording_is_planned_from_outside_and_counted_in_the_reports(tmp_path: Path) -> None:
    teacher = small.teacher_file(tmp_path / "teacher.safetensors")
    values = small.values({"methods": {"kd": {}}, "teacher/path": str(teacher), "train/evaluate_every": 7})
    planned = RecordingPlan(folder=str(tmp_path / "recordings"), taps={"logits": 7}, max_bytes=2**20)
    found = []
    for trial in ("first", "second"):
        told: list[dict[str, Any]] = []
        attempt(values, InlineContext(tmp_path / trial, told.append), 0, recording=planned)
        found.append([told[-1][f"time/teacher_{kind}_steps"] for kind in ("recorded", "live")])
    assert found == [[0, 7], [7, 0]]


def test_a_warning_about_a_recording_stands_in_the_next_report(tmp_path: Path) -> None:
    teacher = small.teacher_file(tmp_path / "teacher.safetensors")
    values = small.values({"methods": {"kd": {}}, "teacher/path": str(teacher)})
    planned = RecordingPlan(folder=str(teacher), taps={"logits": 7}, max_bytes=2**20)
    told: list[dict[str, Any]] = []
    with pytest.warns(UserWarning, match="recordings of the teacher's outputs need a folder"):
        attempt(values, InlineContext(tmp_path / "trial", told.append), 0, recording=planned)
    assert "this trial goes on with a live teacher" in told[0][WARNING]
    assert not any("time/teacher_live_steps" in report for report in told)

"""The small trial with and without recordings, for tests of both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trainers import small
from tests.trainers.stops import tensors
from trainers.context import LocalContext, Metrics
from trainers.loop import train
from trainers.teachers.recordings import files
from trainers.teachers.recordings.plan import RecordingPlan

ALL_TAPS = {"logits": 7, "features": 7, "aux": 7}
STEPS = ("time/teacher_recorded_steps", "time/teacher_live_steps")


def plan(folder: Path, taps: Mapping[str, int] | None = None, max_bytes: int = 2**30) -> RecordingPlan:
    return RecordingPlan(folder=str(folder), taps=ALL_TAPS if taps is None else taps, max_bytes=max_bytes)


def run(changes: Mapping[str, Any], folder: Path, recording: RecordingPlan | None = None) -> LocalContext:
    """Train in a folder of its own, or go on there."""
    context = LocalContext(folder)
    train(small.trial(changes), context, recording=recording)
    return context


def steps(reports: list[Metrics]) -> list[tuple[int, int]]:
    """Recorded and live steps of every report."""
    return [(int(report[STEPS[0]]), int(report[STEPS[1]])) for report in reports]


def left(folder: Path) -> dict[str, Tensor]:
    """All tensors of a trial's last checkpoint."""
    last = LocalContext(folder).checkpoints()[-1]
    state = torch.load(last / "state.pt", weights_only=True)
    return load_file(last / "weights.safetensors") | tensors(state)


def chunks(folder: Path, suffix: str = files.WHOLE) -> list[Path]:
    """The chunks below a plan's folder, of all keys and ranks, in order."""
    return sorted(folder.glob(f"*/rank*/*{suffix}"))

"""One training step on a device, and whether its losses are those of the same step elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from trainers.config import TrialConfig
from trainers.context import LocalContext
from trainers.data.splits import training_images
from trainers.data.transforms import training_batches
from trainers.doctor.cases import Size, untrained_teacher
from trainers.loop import placed_teacher, prepare_step, step

Precision = Literal["float32", "bfloat16", "float16"]
TOLERANCE: Mapping[Precision, float] = {"float32": 0.02, "bfloat16": 0.15, "float16": 0.05}
"""By which a loss may differ from the CPU's in float32, relative to that; on GPUs convolutions round to TF32."""
LEAST = 0.01
"""Share of the whole loss below which a difference of a term does not count."""

Losses = Mapping[str, float]
"""Of one step: the loss, and every term of it, unweighted."""


def step_losses(trial: TrialConfig, size: Size, device: torch.device, *, rank: int = 0, ranks: int = 1) -> Losses:
    """The losses of the first step of a trial, forward, backward and optimizer; means over all ranks.

    Args:
        trial: with one rank or with `ranks`, which share its batch.
        size: whose teacher it has.
        device: where to compute.
        rank: of this process.
        ranks: processes of the process group.
    """
    torch.set_num_threads(trial.train.threads)
    data = training_images(trial.data)
    teacher = placed_teacher(untrained_teacher(size, trial), trial, device) if trial.teacher else None
    context = LocalContext(Path(), device=device, rank=rank, world_size=ranks)
    parts, state = prepare_step(trial, context, teacher, num_classes=len(data.class_names))
    batches = training_batches(data, trial.augment, batch=trial.train.batch, seed=0, stop=1, rank=rank, ranks=ranks)
    step(parts, state, *next(iter(batches)))
    return parts.objective.drain()


def in_precision(trial: TrialConfig, precision: Precision) -> TrialConfig:
    """The same trial in another precision."""
    return replace(trial, train=replace(trial.train, precision=precision))


def differences(found: Losses, expected: Losses, tolerance: float) -> list[str]:
    """A line for each loss that is not as expected, or not finite."""
    ignored = LEAST * abs(expected["train/loss"])
    return [
        f"{name} is {found.get(name, float('nan')):.5g}, and {value:.5g} in float32 on the CPU"
        for name, value in expected.items()
        if not abs(found.get(name, float("nan")) - value) <= max(tolerance * abs(value), ignored)
    ]

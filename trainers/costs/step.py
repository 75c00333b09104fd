"""What one training step of a trial costs as if it ran alone: counted operations, or seconds on this machine.

The step is the one that trials run, with the teacher's forward in it, on images of no content. Its operations are the
multiply-accumulates of convolutions and matrix products, forward and backward, counted on the meta device: the same
number on every machine, in about a second whatever the networks' size. Element-wise operations are not counted.
Reading images, evaluations and checkpoints are in neither price.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from trainers import models
from trainers.checkpoint import TrainState
from trainers.config import TrialConfig
from trainers.context import LocalContext
from trainers.data.classes import classes_of
from trainers.data.transforms import Normalisation
from trainers.loop import StepParts, placed_teacher, prepare_step, step
from trainers.resources.gpu import kernels
from trainers.teachers.teacher import Teacher, TeacherCard

WARM_UP, STEPS = 2, 7
"""Steps of a measurement that do not count, and that do."""


class CountedOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside this context, the floating-point operations of all convolutions and matrix products: 2 per MAC.

    By the formulas of torch.utils.flop_counter, but for one. Its own FlopCounterMode cannot be used around
    `autograd.grad`, which gradient penalties call, because it also follows the modules.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        if func._overloadpacket is torch.ops.aten.convolution_backward:
            self.total += _convolution_backward(*args)
        elif (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=returned))
        return returned


def _convolution_backward(gradient: Tensor, images: Tensor, weight: Tensor, *options: Any) -> int:
    """As often the forward's operations as there are gradients, of the images and of the weight.

    The formula of torch.utils.flop_counter counts the weight's gradient of a convolution in G groups G times over,
    which is most of what a network of depthwise convolutions would seem to cost.
    """
    *_, transposed, _padding, _groups, wanted = options
    once: int = conv_flop_count(list(images.shape), list(weight.shape), list(gradient.shape), transposed)
    gradients: int = sum(wanted[:2])
    return once * gradients


def step_operations(trial: TrialConfig, teacher: object | None) -> float:
    """Multiply-accumulates of one step of a trial, over all its ranks.

    The mean over its first and its last step, which differ where a weighting has stages.

    Args:
        trial: it need not be one whose teacher's file exists.
        teacher: configuration of the teacher's network; None where the trial has none.

    Raises:
        ValueError: networks and methods do not fit together.
    """
    trial = _uncompiled(trial)
    with torch.device("meta"):
        parts, state = _prepared(trial, teacher, torch.device("meta"))
        images, labels = _batch(trial)
        with CountedOperations() as counted:
            for iteration in (0, trial.train.iterations - 1):
                state.iteration = iteration
                step(parts, state, images, labels)
    total: int = counted.total
    return total / 4 * trial.train.workers  # two steps, and two operations for each multiply-accumulate


def _uncompiled(trial: TrialConfig) -> TrialConfig:
    """The trial without what changes no count, and cannot be done where there are no values."""
    teacher = trial.teacher and replace(trial.teacher, fold_batch_norm=False, compile=False)
    return replace(trial, train=replace(trial.train, precision="float32", compile=False), teacher=teacher)


def step_seconds(trials: Mapping[str, TrialConfig], teacher: object | None, device: torch.device) -> dict[str, float]:
    """Seconds of one step of each trial on a device: medians over steps that the trials take in turns.

    Of a trial with several ranks, the step of one on its share of a batch; what the ranks wait for each other is not
    in it.

    Args:
        trials: by name.
        teacher: configuration of the teacher's network; None where no trial has one.
        device: where to measure.
    """
    prepared = {name: _prepared(trial, teacher if trial.teacher else None, device) for name, trial in trials.items()}
    times: dict[str, list[float]] = {name: [] for name in trials}
    before = torch.get_num_threads()
    for turn in range(WARM_UP + STEPS):
        for name, (parts, state) in prepared.items():
            torch.set_num_threads(parts.config.train.threads)
            # early and late steps in turns, where a weighting has stages
            state.iteration = (turn % 2) * (parts.config.train.iterations - 1)
            with kernels(device, search=True):
                times[name].append(_seconds(parts, state, _batch(parts.config), device))
    torch.set_num_threads(before)
    return {name: statistics.median(found[WARM_UP:]) for name, found in times.items()}


def _seconds(parts: StepParts, state: TrainState, batch: tuple[Tensor, Tensor], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    step(parts, state, *batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _prepared(trial: TrialConfig, teacher: object | None, device: torch.device) -> tuple[StepParts, TrainState]:
    classes = classes_of(trial.data).names
    # a probe is of one step in many, and no part of what a trial may cost
    train = replace(trial.train, probe_every=0)
    trial = replace(trial, student=models.without_weights(trial.student), train=train)
    frozen = None
    if teacher is not None:
        card = TeacherCard(model=teacher, class_names=classes, normalisation=Normalisation())
        network = models.build(teacher, num_classes=len(classes), initial_weights=False)
        frozen = placed_teacher(Teacher(network, card), trial, device)
    # nothing is read or written there
    return prepare_step(trial, LocalContext(Path(), device=device), frozen, num_classes=len(classes))


def _batch(trial: TrialConfig) -> tuple[Tensor, Tensor]:
    """One rank's images and labels: noise, so that masks by confidence keep some pixels and leave others out."""
    size = (max(1, trial.train.batch // trial.train.workers), *trial.augment.crop)
    noise = torch.Generator(device="cpu").manual_seed(0)
    classes = len(classes_of(trial.data).names)
    with torch.device("cpu"):
        images = torch.randint(256, (size[0], 3, *size[1:]), dtype=torch.uint8, generator=noise)
        labels = torch.randint(classes, size, generator=noise)
    return images, labels

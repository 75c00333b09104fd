"""What a trial needs on this machine: seconds, memory and the size of a checkpoint, seen in a few of its real steps.

It reads the trial's images, builds its networks, takes steps spread over its whole length, because a weighting may have
stages, and evaluates some of the images that judge it. Nothing is written but copies of decoded images. Of a trial with
several ranks it is one rank with its share of a batch; what ranks wait for each other is not in it. What a method
pretrains before its first step is left out, and its buffers are as they were made.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from math import ceil

import cv2
import torch
from torch import Tensor

from trainers.config import TrialConfig
from trainers.context import TrialContext
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.decoded.reader import Reader
from trainers.data.transforms import NORMALISATION, training_batches
from trainers.evaluation.evaluation import BATCH, evaluate
from trainers.loop import Parts, prepare, step
from trainers.models import Taps
from trainers.resources.gpu import kernels, reserved_mib
from trainers.resources.peak_memory import forget_peak, peak_mib
from trainers.teachers.outputs import TeacherOutputs

WARM_UP = 3
"""Steps that do not count, the first and the last of the trial among them."""
STEPS, STEPS_S = 6, 5.0
"""Steps that count at the least, and seconds in which there may be more of them."""
EVALUATIONS_S = 1.0
CYCLE, CYCLE_S = 12, 10.0
"""Batches, at most, and seconds in which they are read before any time counts.

The steps then read these again, because a trial reads its images many times, and only the first time from files.
"""
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly however many there are."""


@dataclass(frozen=True, kw_only=True)
class TrialMemory:
    """What a trial takes of a machine beside time.

    Attributes:
        peak_mib: of one rank: resident on a CPU, allocated on a GPU, as `memory/peak_mib` of its reports.
        host_mib: resident, wherever it trains.
        reserved_mib: what it keeps of a GPU from others; 0 on a CPU.
        checkpoint_bytes: of a checkpoint.
    """

    peak_mib: float
    host_mib: float
    reserved_mib: float
    checkpoint_bytes: int


@dataclass(frozen=True, kw_only=True)
class TrialTimes:
    """Seconds of the parts of a trial.

    Attributes:
        step_s: of a step, its images and a teacher that computes among it; the mean over the length of the trial.
        teacher_s: of that, the teacher's part.
        evaluation_s: of an evaluation of all images, with its checkpoint.
        start_s: before the first step, and what that takes longer than another.
        steps: that were measured.
    """

    step_s: float
    teacher_s: float
    evaluation_s: float
    start_s: float
    steps: int


def measure(
    config: TrialConfig,
    context: TrialContext,
    *,
    loader_workers: int = 0,
    decoded: DecodedPlan | None = None,
    begin: Callable[[TrialMemory], None] = lambda _: None,
) -> TrialTimes:
    """Take a few steps of a trial and evaluate a few images.

    Args:
        config: the trial; its teacher's file must be there.
        context: of the only rank.
        loader_workers: processes that read and augment images.
        decoded: where decoded images are kept; None for nowhere.
        begin: called once with what the trial takes, before any time but that of its start counts; it may wait for
            other trials that are to run beside this one.

    Raises:
        ValueError: as `trainers.loop.train`.
    """
    torch.set_num_threads(config.train.threads)
    cv2.setNumThreads(0)
    forget_peak(context.device)
    with kernels(context.device, search=True):
        trial = _MeasuredTrial(config, context, loader_workers, decoded)
        trial.warm_up()
        begin(trial.memory())
        return trial.times()


class _MeasuredTrial:
    def __init__(
        self, config: TrialConfig, context: TrialContext, loader_workers: int, decoded: DecodedPlan | None
    ) -> None:
        began = time.perf_counter()
        parts, state = prepare(config, context, loader_workers, Reader(decoded, warn=context.warn))
        self._teacher = _TimedTeacher(parts.teacher, context.device) if parts.teacher else None
        self._parts, self._state = replace(parts, teacher=self._teacher), state
        self._stream = _stream(self._parts)
        self._start_s = time.perf_counter() - began

    def warm_up(self) -> None:
        """Meet every stage once, in training and in evaluation."""
        last = self._parts.config.train.iterations - 1
        self._first_step_s = self._seconds([0])
        self._seconds([last, *([last // 2] * (WARM_UP - 2))])
        self._evaluate()

    def memory(self) -> TrialMemory:
        device, files = self._parts.context.device, self._files()
        return TrialMemory(
            peak_mib=peak_mib(device),
            host_mib=peak_mib(torch.device("cpu")),
            reserved_mib=reserved_mib(device).get("memory/reserved_mib", 0.0),
            checkpoint_bytes=sum(map(len, files.values())),
        )

    def times(self) -> TrialTimes:
        if self._teacher:
            self._teacher.seconds = 0.0
        steps, seconds = self._steps()
        teacher_s = self._teacher.seconds / steps if self._teacher else 0.0
        step_s = seconds / steps
        return TrialTimes(
            step_s=step_s,
            teacher_s=teacher_s,
            evaluation_s=self._evaluation_s() + _timed(self._files),
            start_s=self._start_s + max(0.0, self._first_step_s - step_s),
            steps=steps,
        )

    def _steps(self) -> tuple[int, float]:
        """Steps that were taken, and their seconds."""
        number, seconds, iterations = 0, 0.0, self._parts.config.train.iterations
        while number < STEPS or seconds < STEPS_S:
            seconds += self._seconds([int((number + 0.5) * GOLDEN % 1 * iterations)])
            number += 1
        return number, seconds

    def _seconds(self, iterations: list[int]) -> float:
        """Of steps at these iterations, the reading of their images among them."""
        _wait_for(self._parts.context.device)
        began = time.perf_counter()
        for iteration in iterations:
            images, labels = next(self._stream)
            self._state.iteration = iteration
            step(self._parts, self._state, images, labels)
        _wait_for(self._parts.context.device)
        return time.perf_counter() - began

    def _evaluation_s(self) -> float:
        """Seconds of an evaluation of all images, by that of a few."""
        images = len(self._parts.val_data)
        number, seconds = 0, 0.0
        while not number or seconds < EVALUATIONS_S:
            seconds += _timed(self._evaluate)
            number += 1
        return seconds / number * images / min(BATCH, images)

    def _evaluate(self) -> None:
        parts, config = self._parts, self._parts.config
        images = len(parts.val_data)
        found = evaluate(
            self._state.distiller.student,
            parts.val_data,
            normalisation=NORMALISATION,
            device=parts.context.device,
            dtype=torch.float64 if config.train.precision == "float64" else torch.float32,
            images=BATCH,
        )
        counts = found.images.repeat(ceil(images / len(found.images)), 1, 1)[:images]
        self._state.evaluations = {"last": counts, "best": counts}

    def _files(self) -> dict[str, bytes]:
        data = self._parts.val_data
        return self._state.files(self._parts.config, [data.image_name(index) for index in range(len(data))])


class _TimedTeacher:
    """A teacher whose seconds are summed up."""

    def __init__(self, teacher: TeacherOutputs, device: torch.device) -> None:
        self._teacher, self._device, self.seconds = teacher, device, 0.0
        self.channels = teacher.channels

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        _wait_for(self._device)
        began = time.perf_counter()
        found = self._teacher.outputs(images, dtype, iteration=iteration)
        _wait_for(self._device)
        self.seconds += time.perf_counter() - began
        return found


def _stream(parts: Parts) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end; read once before, where no processes read ahead."""
    if parts.loader_workers:
        return chain.from_iterable(map(_batches, repeat(parts)))
    number, began = 0, time.perf_counter()
    for _ in islice(_batches(parts), CYCLE):
        number += 1
        if time.perf_counter() - began > CYCLE_S:
            break
    return chain.from_iterable(islice(_batches(parts), number) for _ in repeat(None))


def _batches(parts: Parts) -> Iterator[tuple[Tensor, Tensor]]:
    config, device = parts.config, parts.context.device
    return iter(
        training_batches(
            parts.train_data,
            config.augment,
            batch=config.train.batch,
            seed=config.data_seed,
            stop=config.train.iterations,
            workers=parts.loader_workers,
            pin_memory=device.type == "cuda",
        )
    )


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

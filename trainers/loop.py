"""Train one trial: plain PyTorch, with or without a process group, with no idea of Ray or of a study."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from trainers import optim
from trainers.checkpoint import TrainState
from trainers.checkpoints.interval import Interval
from trainers.checkpoints.requests import Request
from trainers.config import TrainConfig, TrialConfig
from trainers.context import StopRequestedError, TrialContext
from trainers.data import SegmentationDataset
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.decoded.reader import Reader
from trainers.data.order import generator
from trainers.data.splits import Opener, judging_images, open_split, training_images
from trainers.data.transforms import NORMALISATION, training_batches
from trainers.difficulty.class_shares import mask_metrics
from trainers.distillation.adversaries import AdversaryTraining
from trainers.distillation.distiller import Distiller
from trainers.distillation.gradients import TAP, GradientProbe
from trainers.distillation.loss_scale import LossScale
from trainers.distillation.objective import Objective
from trainers.distillation.pretraining import prepare_methods
from trainers.distributed.batch_norm import synchronise
from trainers.distributed.ranks import to_first
from trainers.evaluation.evaluation import Evaluation, evaluate
from trainers.reports import Interims, Reports
from trainers.resources.gpu import kernels, refuse_precision, reserved_mib, return_unused
from trainers.resources.peak_memory import forget_peak, peak_mib
from trainers.resources.progress import ProgressNotes
from trainers.resources.waiting import Waiting
from trainers.teachers import teacher as teachers
from trainers.teachers.outputs import LazyTeacher, LiveTeacher, TeacherOutputs
from trainers.teachers.placement import placed
from trainers.teachers.recordings.plan import RecordingPlan
from trainers.teachers.recordings.teacher import RecordedTeacher, recorded_teacher
from trainers.teachers.teacher import Teacher

CHECK_EVERY = 10
"""Steps between checks that all terms are finite; each check synchronises with the device."""

Metrics = dict[str, float | int | str]
AT_EVALUATIONS = Interval()
"""No checkpoint between them, unless it is asked for."""


@dataclass(frozen=True, kw_only=True)
class StepParts:
    """The objects that a training step uses, except what a checkpoint holds: that is the TrainState."""

    config: TrialConfig
    context: TrialContext
    teacher: TeacherOutputs | None
    model: nn.Module
    """The distiller, inside DDP where there is more than one rank."""
    objective: Objective
    adversaries: dict[str, AdversaryTraining]
    scale: LossScale
    probe: GradientProbe


@dataclass(frozen=True, kw_only=True)
class Parts(StepParts):
    """The objects that a trial uses: those of its steps, its datasets and their loading."""

    train_data: SegmentationDataset
    val_data: SegmentationDataset
    loader_workers: int
    waiting: Waiting = field(default_factory=Waiting)

    @property
    def recorded(self) -> RecordedTeacher | None:
        """The teacher, where its outputs are recorded."""
        return self.teacher if isinstance(self.teacher, RecordedTeacher) else None


def train(
    config: TrialConfig,
    context: TrialContext,
    *,
    loader_workers: int = 0,
    checkpoint_every: Interval = AT_EVALUATIONS,
    decoded: DecodedPlan | None = None,
    recording: RecordingPlan | None = None,
) -> Metrics:
    """Run a trial from its last checkpoint, or from the start, to its end.

    Every `evaluate_every` steps and at the end, all ranks evaluate, report and leave a checkpoint. Between evaluations
    they leave one when it is time for it, and when they are asked to.

    Args:
        config: the trial.
        context: this rank's context; a process group exists where its world size is above 1.
        loader_workers: processes that read and augment images; does not change the numbers.
        checkpoint_every: interval of the checkpoints between evaluations; does not change the numbers.
        decoded: where decoded images are kept for other trials; None for nowhere. Does not change the numbers.
        recording: which outputs of the teacher are recorded, and where; does not change the numbers.

    Returns:
        The metrics of the last report.

    Raises:
        StopRequestedError: the context was asked to stop; a checkpoint is left.
        ValueError: where configuration, data and teacher do not fit together.
        DivergedError: when a term of the loss, or in float16 every gradient, is no longer finite.
    """
    torch.set_num_threads(config.train.threads)
    cv2.setNumThreads(0)
    forget_peak(context.device)
    with kernels(context.device, search=True):
        parts, state = prepare(config, context, loader_workers, Reader(decoded, warn=context.warn), recording)
        started = time.monotonic()
        with context.latest_checkpoint() as folder:
            if folder is not None:
                state.load(folder, rank=context.rank, device=context.device)
            else:
                prepare_methods(state.distiller, config, parts.train_data, context, loader_workers=loader_workers)
        with Reports(context) as reports, parts.recorded or nullcontext():
            _steps(parts, state, reports, Interims(context, checkpoint_every), _Clock(state, started))
    return state.metrics


class _Clock:
    """The times of a trial over all its attempts, which are not counted while it is not running."""

    def __init__(self, state: TrainState, started: float) -> None:
        self._trial, self._steps = started - state.seconds, time.monotonic() - state.step_seconds

    def steps_end(self, state: TrainState) -> None:
        """Note how long the steps since the last report took."""
        state.step_seconds = time.monotonic() - self._steps

    @property
    def seconds(self) -> float:
        """Of the trial so far."""
        return time.monotonic() - self._trial

    def trial_stands(self, state: TrainState) -> None:
        """Note how long the trial took so far."""
        state.seconds = self.seconds

    def steps_begin(self, state: TrainState) -> None:
        """The steps of the next report begin."""
        state.step_seconds, self._steps = 0.0, time.monotonic()


def _steps(parts: Parts, state: TrainState, reports: Reports, interims: Interims, clock: _Clock) -> None:
    """Train from `state.iteration` to the end, with an evaluation every `evaluate_every` steps."""
    config, notes = parts.config, ProgressNotes(parts.context.show_progress, state.iteration, clock.seconds)
    _to_training(state.distiller, config.train)  # what pretraining or a user did in between may have left another
    for images, labels in parts.waiting.of(_batches(parts, state.iteration)):
        step(parts, state, images, labels)
        reports.advance(state.iteration)
        if state.iteration % CHECK_EVERY == 0:
            _check_convergence(parts)
        _note(parts, state.iteration, notes)
        if _is_evaluation(state.iteration, config.train):
            reports.finish()
            clock.steps_end(state)
            _evaluate(parts, state, clock)
            clock.steps_begin(state)
            reports.begin(state.metrics, _files(parts, state))
            interims.restart()
            notes.restart(state.iteration)
        elif request := interims.due(state.iteration):
            _keep(parts, state, reports, clock)
            interims.restart()
            if request is Request.STOP:
                reports.finish()
                raise StopRequestedError(state.iteration)


def _check_convergence(parts: StepParts) -> None:
    """Raise DivergedError if a term or the loss scale has broken. Synchronises with the device."""
    parts.objective.check_finite()
    parts.scale.check()


def _note(parts: Parts, iteration: int, notes: ProgressNotes) -> None:
    """Say how far rank 0 is, with the loss where the host has just waited for the device, or never has to."""
    if not parts.context.rank:
        synchronised = parts.context.device.type == "cpu" or iteration % CHECK_EVERY == 0
        notes.advance(iteration, parts.objective.mean_loss if synchronised else None)


def _keep(parts: Parts, state: TrainState, reports: Reports, clock: _Clock) -> None:
    """Leave a checkpoint between two evaluations, on all ranks."""
    _check_convergence(parts)
    clock.steps_end(state)
    clock.trial_stands(state)
    state.peak_mib = max(state.peak_mib, peak_mib(parts.context.device))
    running = to_first(state.running_sums())
    reports.keep(state.iteration, _files(parts, state, running or ()))


def _is_evaluation(iteration: int, config: TrainConfig) -> bool:
    return iteration % config.evaluate_every == 0 or iteration == config.iterations


def _next_evaluation(iteration: int, config: TrainConfig) -> int:
    """The number of steps after which the first evaluation follows the 0-based `iteration`."""
    return min((iteration // config.evaluate_every + 1) * config.evaluate_every, config.iterations)


def prepare(
    config: TrialConfig,
    context: TrialContext,
    loader_workers: int,
    opener: Opener = open_split,
    recording: RecordingPlan | None = None,
) -> tuple[Parts, TrainState]:
    """Datasets, networks, teacher and optimizers of a trial, ready for its first step or a checkpoint.

    Args:
        config: the trial.
        context: this rank's context.
        loader_workers: processes that read and augment images.
        opener: opens a split of the dataset.
        recording: which outputs of the teacher are recorded, and where; None for none.

    Raises:
        ValueError: where configuration, data and teacher do not fit together.
    """
    train_data = training_images(config.data, holdout=config.holdout, opener=opener)
    val_data = judging_images(config.data, config.evaluate_on, holdout=config.holdout, opener=opener)
    if not len(train_data) or not len(val_data):
        raise ValueError(
            f"both splits must hold images, but {config.data.name} has {len(train_data)} for training and "
            f"{len(val_data)} for {config.evaluate_on}; complete the dataset"
        )
    refuse_precision(config.train.precision, context.device)
    config.train.refuse_single_images(workers=context.world_size, on_gpus=context.device.type == "cuda")
    lazy = _lazy_teacher(config, train_data, context.device)
    of_step, state = prepare_step(config, context, lazy, num_classes=len(train_data.class_names))
    outputs = _outputs(lazy, state.distiller, config, context, recording) if lazy else None
    parts = Parts(
        **{**vars(of_step), "teacher": outputs},
        train_data=train_data,
        val_data=val_data,
        loader_workers=loader_workers,
    )
    if parts.recorded:
        state.running = {**state.running, "teacher": parts.recorded}
    return parts, state


def prepare_step(
    config: TrialConfig, context: TrialContext, teacher: TeacherOutputs | None, *, num_classes: int
) -> tuple[StepParts, TrainState]:
    """Networks, optimizers and objective of a trial, ready for `step`; without any image.

    Args:
        config: the trial.
        context: this rank's context.
        teacher: on the context's device; None where the trial has none.
        num_classes: classes of the dataset.
    """
    torch.manual_seed(config.init_seed)
    distiller = Distiller(config, num_classes=num_classes, teacher_channels=teacher.channels if teacher else None)
    model = _placed(distiller, config.train, context)
    adversaries = {
        name: AdversaryTraining(adversary, ranks=context.world_size)
        for name, adversary in distiller.adversaries().items()
    }
    trainable = [parameter for parameter in distiller.parameters() if parameter.requires_grad]
    _to_training(distiller, config.train)
    objective, scale, probe = (
        Objective(config, distiller.weighting),
        LossScale(context.device),
        _probe(config, distiller),
    )
    state = TrainState(
        distiller=distiller,
        optimizer=optim.optimizer(trainable, config.train.optimizer),
        scaler=torch.amp.GradScaler(context.device.type, enabled=config.train.precision == "float16"),
        adversaries={name: training.optimizer for name, training in adversaries.items()},
        running={
            "objective": objective,
            "scale": scale,
            "class_shares": distiller.weighting.class_shares,
            **({"gradients": probe} if config.train.probe_every else {}),
        },
    )
    parts = StepParts(
        config=config,
        context=context,
        teacher=teacher,
        model=model,
        objective=objective,
        adversaries=adversaries,
        scale=scale,
        probe=probe,
    )
    return parts, state


def _probe(config: TrialConfig, distiller: Distiller) -> GradientProbe:
    """What compares the gradients of the loss's terms.

    Raises:
        ValueError: it is asked for where it cannot.
    """
    config.train.refuse_compiled_probe()
    if config.train.probe_every and TAP not in distiller.student.channels:
        raise ValueError(
            f"train.probe_every takes gradients by the student's {TAP!r} tap, but this network has only "
            f"{sorted(distiller.student.channels)}; give it that tap, or leave probe_every out"
        )
    return GradientProbe(config.train.probe_every)


def _lazy_teacher(config: TrialConfig, data: SegmentationDataset, device: torch.device) -> LazyTeacher | None:
    """The teacher of a trial, of whose file only the card and the checksum are read yet; None where it has none."""
    if config.teacher is None:
        return None
    path, expected = Path(config.teacher.path), config.teacher.sha256
    card = teachers.fitting_card(path, class_names=data.class_names, expected_sha256=expected)

    def network() -> Teacher:
        teacher = teachers.load(path, class_names=data.class_names, expected_sha256=expected)
        return placed_teacher(teacher, config, device)

    return LazyTeacher(teachers.channels(card), network)


def placed_teacher(teacher: Teacher, config: TrialConfig, device: torch.device) -> Teacher:
    """A teacher as a trial with one runs it, ready for `step`.

    Raises:
        ValueError: its batch normalisations cannot be folded.
    """
    assert config.teacher is not None
    place = {"device": device, "dtype": _dtype(config.train), **_layout(config.train, device)}
    return placed(teacher, config.teacher, autocast=_half(config.train), **place)


def _outputs(
    teacher: LazyTeacher,
    distiller: Distiller,
    config: TrialConfig,
    context: TrialContext,
    recording: RecordingPlan | None,
) -> LiveTeacher | RecordedTeacher:
    """What of the teacher's outputs the trial reads; a teacher that is not recorded is loaded now."""
    live = LiveTeacher(teacher, distiller.teacher_taps)
    if recording is not None:
        boundary = partial(_next_evaluation, config=config.train)
        if recorded := recorded_teacher(live, recording, config, context, boundary=boundary):
            return recorded
    teacher.load()
    return live


def _placed(distiller: Distiller, config: TrainConfig, context: TrialContext) -> nn.Module:
    """The distiller on its device, and inside DDP where there are several ranks."""
    ranks = context.world_size
    if ranks > 1 and context.device.type == "cuda":
        synchronise(distiller)
    distiller.to(device=context.device, dtype=_dtype(config), **_layout(config, context.device))
    if config.compile:
        distiller.compile()  # in its place, so that weights keep their names; evaluations call the student itself
    if ranks == 1:
        return distiller
    ids = [context.device.index] if context.device.type == "cuda" else None
    # DDP waits for the gradient of every parameter, and an auxiliary head without weight gets none
    idle = "aux" in distiller.student.channels and not distiller.weighting.config.aux_weight
    # in training no buffer is read that differs between ranks, so they need no broadcast; memory banks are large
    return DistributedDataParallel(
        distiller,
        device_ids=ids,
        find_unused_parameters=idle,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,  # saves a copy of every gradient
    )


def _dtype(config: TrainConfig) -> torch.dtype:
    return torch.float64 if config.precision == "float64" else torch.float32


def _layout(config: TrainConfig, device: torch.device) -> dict[str, Any]:
    last = config.is_channels_last(on_gpu=device.type == "cuda")
    return {"memory_format": torch.channels_last} if last else {}


def _half(config: TrainConfig) -> torch.dtype | None:
    """The type that steps autocast to; None where they do not."""
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(config.precision)


def _autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    half = _half(config)
    return nullcontext() if half is None else torch.autocast(device.type, dtype=half)


def _batches(parts: Parts, start: int) -> DataLoader[tuple[Tensor, Tensor]]:
    config, context = parts.config, parts.context
    return training_batches(
        parts.train_data,
        config.augment,
        batch=config.train.batch,
        seed=config.data_seed,
        start=start,
        stop=config.train.iterations,
        rank=context.rank,
        ranks=context.world_size,
        workers=parts.loader_workers,
        pin_memory=context.device.type == "cuda",
    )


def step(parts: StepParts, state: TrainState, images: Tensor, labels: Tensor) -> None:
    """One training step: forward, backward and optimizer, then the adversaries' steps.

    Args:
        parts: of the trial.
        state: updated; `iteration` is the 0-based step, and grows by 1.
        images: RGB uint8 [B, 3, H, W].
        labels: integers [B, H, W], 255 ignored.
    """
    config, context, iteration = parts.config, parts.context, state.iteration
    dtype = _dtype(config.train)
    images = images.to(context.device, non_blocking=True, **_layout(config.train, context.device))
    labels = labels.to(context.device, non_blocking=True).long()
    # dropout is counted like everything random, so that no generator's state has to survive a resume
    _seed(_dropout_seed(config.init_seed, iteration, context.rank), context.device)
    optim.set_rate(
        state.optimizer,
        optim.poly_rate(config.train.optimizer, iteration, config.train.iterations),
    )
    with _autocast(config.train, context.device), parts.probe.watching(state.distiller.student, iteration):
        teacher_taps = parts.teacher.outputs(images, dtype, iteration=iteration) if parts.teacher else None
        terms, student_taps = parts.model(NORMALISATION(images, dtype), labels, teacher_taps, iteration)
    weighted = parts.objective.weighted(terms, iteration)
    parts.probe.measure(weighted, state.scaler, iteration, state.distiller.weighting.stage(iteration))
    loss = parts.objective.total(weighted, iteration)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.step(state.optimizer)
    parts.scale.update(state.scaler, iteration)
    for name, adversary in parts.adversaries.items():
        assert teacher_taps is not None
        values = adversary.step(student_taps, teacher_taps, iteration=iteration, iterations=config.train.iterations)
        for term, value in values.items():
            parts.objective.log(f"{name}/{term}", value, iteration)
    state.iteration = iteration + 1


def _dropout_seed(seed: int, iteration: int, rank: int) -> int:
    return int(generator(seed, "dropout", iteration, rank).integers(2**62))


def _seed(seed: int, device: torch.device) -> None:
    """Of the generators that a step draws from: the CPU's, and that of its own GPU, not of all there are."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _to_training(distiller: Distiller, config: TrainConfig) -> None:
    """Into the mode of training, once for all steps up to the next evaluation."""
    distiller.train()
    if config.freeze_batch_norm:
        for module in distiller.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _evaluate(parts: Parts, state: TrainState, clock: _Clock) -> None:
    """Evaluate on all ranks, and store metrics and counts in the state."""
    config, context = parts.config, parts.context
    _check_convergence(parts)
    _share_buffers(state.distiller.student)
    evaluation = evaluate(
        state.distiller.student,
        parts.val_data,
        normalisation=NORMALISATION,
        device=context.device,
        dtype=_dtype(config.train),
        rank=context.rank,
        loader_workers=parts.loader_workers,
    )
    _to_training(state.distiller, config.train)
    clock.trial_stands(state)
    state.peak_mib = max(state.peak_mib, peak_mib(context.device))
    state.evaluated(_metrics(parts, state, evaluation))
    return_unused(context.device)
    state.evaluations["last"] = evaluation.images
    if state.metrics["best/iteration"] == state.iteration:
        state.evaluations["best"] = evaluation.images


def _files(parts: Parts, state: TrainState, running: Sequence[Mapping[str, Any]] = ()) -> dict[str, bytes] | None:
    """Contents of a checkpoint's files by name; None on all ranks but 0."""
    if parts.context.rank:
        return None
    return state.files(parts.config, [parts.val_data.image_name(i) for i in range(len(parts.val_data))], running)


def _share_buffers(module: nn.Module) -> None:
    """Broadcast the buffers of rank 0, such as batch statistics: its checkpoint holds these."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def _metrics(parts: Parts, state: TrainState, evaluation: Evaluation) -> Metrics:
    miou, best = evaluation.miou_percent, float(state.metrics.get("best/miou_percent", -1))
    if math.isnan(miou):
        raise ValueError(
            f"the images that a trial is judged on must have labelled pixels, but {parts.config.data.name}'s "
            f"{parts.config.evaluate_on} has none; check its labels"
        )
    is_best = miou > best
    optimizer = parts.config.train.optimizer
    rate = optim.poly_rate(optimizer, state.iteration - 1, parts.config.train.iterations)
    step_ms = 1000 * state.step_seconds / (state.iteration - state.reported)
    ious = evaluation.iou_percent(parts.val_data.class_names)
    return {
        "iteration": state.iteration,
        "eval/miou_percent": miou,
        "eval/pixel_accuracy_percent": evaluation.pixel_accuracy_percent,
        "best/miou_percent": miou if is_best else best,
        "best/iteration": state.iteration if is_best else int(state.metrics["best/iteration"]),
        **{f"eval/iou_percent/{name}": iou for name, iou in ious.items()},
        **parts.objective.drain(),
        **parts.scale.drain(state.scaler),
        **(parts.recorded.drain() if parts.recorded else {}),
        **parts.probe.drain(),
        **mask_metrics(state.distiller.weighting.class_shares.drain(), parts.train_data.class_names),
        "train/learning_rate": rate,
        "time/step_ms": step_ms,
        "time/loader_ms": _waited(parts, step_ms),
        "time/trial_seconds": state.seconds,
        "memory/peak_mib": state.peak_mib,
        **reserved_mib(parts.context.device),
    }


def _waited(parts: Parts, step_ms: float) -> float:
    """Milliseconds that a step of this attempt waited for its images; said once where a GPU waits too long."""
    waiting_ms = parts.waiting.drain()
    if parts.context.device.type == "cuda" and parts.context.rank == 0:
        lack = parts.waiting.lack(parts.loader_workers, step_ms=step_ms, waiting_ms=waiting_ms)
        if lack is not None:
            parts.context.warn(lack)
    return waiting_ms

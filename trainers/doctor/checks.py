"""The checks of an examination: each gives a line and figures, or raises what it finds wrong."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trainers.config import TrialConfig, parse
from trainers.context import LocalContext
from trainers.costs.step import step_seconds
from trainers.doctor import cases
from trainers.doctor.cases import Size
from trainers.doctor.ranks import losses_of_two_ranks
from trainers.doctor.steps import TOLERANCE, Losses, Precision, differences, in_precision, step_losses
from trainers.loop import train
from trainers.resources.gpu import has_bfloat16
from trainers.teachers import teacher as teachers
from trainers.teachers.recordings.plan import RecordingPlan

CPU = torch.device("cpu")


class UnwellError(Exception):
    """What a check finds wrong."""


class Found(NamedTuple):
    """What a check has to say where nothing is wrong.

    Attributes:
        text: a line.
        figures: by name, with their units.
    """

    text: str
    figures: Mapping[str, float]


Check = Callable[[], Found]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is examined where.

    Attributes:
        device: that is examined.
        steps: networks and images of the steps whose losses are compared.
        times: those of the steps that are timed.
        gpus: how many there are; with two and more, two are examined together.
        settings: what makes the trials whose losses are compared, by name.
    """

    device: torch.device
    steps: Size
    times: Size
    gpus: int = 0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=cases.settings)


def checks(of: Examination) -> Iterator[tuple[str, Check]]:
    """All checks by name."""
    for name, setting in of.settings.items():
        expected = cache(partial(step_losses, cases.trial(of.steps, **setting), of.steps, CPU))
        yield f"step: {name}, float32", partial(_agrees, of, setting, "float32", expected)
        yield f"step: {name}, bfloat16", partial(_agrees, of, setting, "bfloat16", expected)
        yield f"step: {name}, float16", partial(_agrees, of, setting, "float16", expected)
    yield "two ranks", partial(_two_ranks, of)
    yield "recorded teacher", partial(_recorded, of)
    yield "step times", partial(_times, of)


def _agrees(of: Examination, setting: Mapping[str, Any], precision: Precision, expected: Callable[[], Losses]) -> Found:
    """The step has the losses that it has on the CPU in float32."""
    if precision == "bfloat16" and of.device.type == "cuda" and not has_bfloat16(of.device):
        return Found("left out: the GPU has no bfloat16; train with --set train.precision=float16", {})
    on_cpu = expected()
    trial = in_precision(cases.trial(of.steps, **setting), precision)
    reference = precision == "float32" and of.device == CPU
    found = on_cpu if reference else step_losses(trial, of.steps, of.device)
    if wrong := differences(found, on_cpu, TOLERANCE[precision]):
        raise UnwellError(f"losses must agree within {TOLERANCE[precision]:.0%}, but {'; '.join(wrong)}")
    return Found(f"loss {found['train/loss']:.4f}, on the CPU in float32 {on_cpu['train/loss']:.4f}", found)


def _two_ranks(of: Examination) -> Found:
    """Two GPUs train as one does; where there is none, two processes on the CPU."""
    if of.gpus == 1:
        return Found("left out: there is one GPU", {})
    # on the CPU each rank would normalise by the statistics of its own half
    frozen = {"freeze_batch_norm": of.device.type == "cpu"}
    one = step_losses(cases.trial(of.steps, train=frozen, **cases.distilled("kd")), of.steps, of.device)
    shared = cases.trial(of.steps, train={**frozen, "workers": 2}, **cases.distilled("kd"))
    two = losses_of_two_ranks(shared, of.steps, of.device.type)
    if wrong := differences(two, one, TOLERANCE["float32"]):
        raise UnwellError(f"two ranks must have the losses of one, but {'; '.join(wrong)}")
    return Found(f"loss {two['train/loss']:.4f}, of one rank {one['train/loss']:.4f}", two)


def _recorded(of: Examination) -> Found:
    """A trial that reads the teacher's outputs trains as the one that has recorded them."""
    with tempfile.TemporaryDirectory(prefix="kdstudy-") as folder:
        trial = _with_file(cases.trial(of.steps, **cases.distilled("kd")), of.steps, Path(folder))
        steps = trial.train.iterations
        plan = RecordingPlan(folder=f"{folder}/recordings", taps={"logits": steps}, max_bytes=2**30)
        live, read = (
            train(trial, LocalContext(Path(folder, name), device=of.device), recording=plan)
            for name in ("recording", "reading")
        )
    if read["time/teacher_recorded_steps"] != steps:
        raise UnwellError(f"all {steps} steps must be recorded, but {read['time/teacher_recorded_steps']} were")
    found, expected = ({"train/loss": float(metrics["train/loss"])} for metrics in (read, live))
    if wrong := differences(found, expected, TOLERANCE["float32"]):
        raise UnwellError(f"a recorded teacher must give the live one's losses, but {'; '.join(wrong)}")
    times = {f"{name}_ms": float(metrics["time/step_ms"]) for name, metrics in (("live", live), ("recorded", read))}
    return Found(f"loss {found['train/loss']:.4f}, of the live teacher {expected['train/loss']:.4f}", times)


def _with_file(trial: TrialConfig, size: Size, folder: Path) -> TrialConfig:
    """The trial with an untrained teacher in a file."""
    teacher, path = cases.untrained_teacher(size, trial), folder / "teacher.safetensors"
    teachers.save(teacher.network, teacher.card, path)
    assert trial.teacher is not None
    return replace(trial, teacher=replace(trial.teacher, path=str(path)))


def _times(of: Examination) -> Found:
    """Times of a step without a teacher, which one with a recorded teacher comes near, and of steps with a live one."""
    precision = "bfloat16" if of.device.type == "cuda" and has_bfloat16(of.device) else "float32"
    schedule = {"precision": precision, "channels_last": of.device.type == "cuda"}
    trials = {
        "no teacher": cases.trial(of.times, train=schedule),
        "KD": cases.trial(of.times, train=schedule, **cases.distilled("kd")),
        "CIRKD": cases.trial(of.times, train=schedule, **cases.distilled("cirkd")),
    }
    network = parse(teachers.TeacherCard, {"model": of.times.teacher, "class_names": [], "normalisation": {}}).model
    seconds = step_seconds(trials, network, of.device)
    size = "x".join(map(str, of.times.crop))
    told = ", ".join(f"{name} {1000 * time:.0f} ms" for name, time in seconds.items())
    return Found(
        f"{told} ({size}, batch {cases.BATCH}, {precision})", {f"{n}_ms": 1000 * t for n, t in seconds.items()}
    )

"""What a driver measures when a study begins: prices, counted or timed on one worker's share, and students' latency."""

from collections.abc import Callable, Mapping
from typing import Any

from study.configuration.config import StudyConfig, TeacherConfig
from study.configuration.objectives.students import Size, TimedStudent, time_students
from study.configuration.prices import ArmPrices, price_arms
from trainers.config import TrialConfig, parse, plain
from trainers.plugins.content import Plugin
from trainers.plugins.loading import load


def prices(config: StudyConfig, say: Callable[[str], None]) -> dict[str, ArmPrices]:
    """Prices of all arms of a study, none of whose trials runs yet.

    Args:
        config: the study.
        say: shows a line to the user.
    """
    if config.price == "operations":
        say("prices: counting the operations of the arms' steps")
        return price_arms(config)
    say("prices: measuring the arms' steps on one worker")
    return price_arms(config, lambda trials, teacher: _measured(config, trials, teacher))


def latencies(
    config: StudyConfig,
    say: Callable[[str], None],
    students: Mapping[str, TimedStudent],
    size: Size,
    num_classes: int,
    *,
    local: bool,
) -> dict[str, tuple[float, str]]:
    """Latency of students, one after the other, on the kind of device that a worker has.

    Alone means: no trial of this study has begun, and no other student is timed. What other programs do on the machine
    nobody here knows; the median over many runs bears some of it.

    Args:
        config: the study.
        say: shows a line to the user.
        students: by key.
        size: height and width of the image.
        num_classes: of the dataset.
        local: whether the cluster is this machine's own: then this process times on the CPU, and starts no other.
    """
    say(f"latency: timing {len(students)} student{'s' if len(students) > 1 else ''}")
    if local and not config.execution.gpus_per_worker:
        return time_students(students, size, num_classes)
    import ray

    named = {key: plain(one) for key, one in students.items()}
    on_gpu = config.execution.gpus_per_worker > 0
    asked = _on_one_worker(config, _time).remote(named, size, num_classes, config.plugins, on_gpu)
    found: dict[str, tuple[float, str]] = ray.get(asked)
    return found


def _time(
    students: Mapping[str, Any], size: Size, num_classes: int, plugins: Mapping[str, Plugin], on_gpu: bool
) -> dict[str, tuple[float, str]]:
    """In a process of the cluster."""
    load(plugins)
    read = {key: _read_student(one) for key, one in students.items()}
    return time_students(read, size, num_classes, on_gpu=on_gpu)


def _read_student(values: Mapping[str, Any]) -> TimedStudent:
    return TimedStudent(network=parse(TeacherConfig, {"model": values["network"]}).model, threads=values["threads"])


def _on_one_worker(config: StudyConfig, function: Callable[..., Any]) -> Any:
    """A function as a task of the cluster that reserves what a worker of the study does."""
    import ray

    execution = config.execution
    accelerator = {"accelerator_type": execution.accelerator_type} if execution.accelerator_type else {}
    return ray.remote(
        num_cpus=execution.cpus_per_worker, num_gpus=execution.gpus_per_worker, max_retries=3, **accelerator
    )(function)


def _measured(config: StudyConfig, trials: Mapping[str, TrialConfig], teacher: object | None) -> dict[str, float]:
    import ray

    measure = _on_one_worker(config, measured_steps)
    named = {name: plain(trial) for name, trial in trials.items()}
    on_gpu = config.execution.gpus_per_worker > 0
    found: dict[str, float] = ray.get(measure.remote(named, plain(teacher), config.plugins, on_gpu))
    return found


def measured_steps(
    trials: Mapping[str, Any], teacher: Any, plugins: Mapping[str, Plugin], on_gpu: bool
) -> dict[str, float]:
    """Seconds of a step of each trial, alone in this process.

    Args:
        trials: by name, in their plain form.
        teacher: configuration of the teacher's network, in its plain form; None where no trial has one.
        plugins: that the trials and the teacher have parts of.
        on_gpu: whether they are trained on a GPU.
    """
    import torch

    from trainers.costs.step import step_seconds

    load(plugins)
    network = parse(TeacherConfig, {"model": teacher}).model
    read = {name: parse(TrialConfig, trial) for name, trial in trials.items()}
    return step_seconds(read, network, torch.device("cuda" if on_gpu else "cpu"))

"""Prices as a driver makes them when a study begins: counted in its own process, or measured on one worker's share."""

from collections.abc import Callable, Mapping
from typing import Any

from study.configuration.config import StudyConfig, TeacherConfig
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


def _measured(config: StudyConfig, trials: Mapping[str, TrialConfig], teacher: object | None) -> dict[str, float]:
    import ray

    execution = config.execution
    accelerator = {"accelerator_type": execution.accelerator_type} if execution.accelerator_type else {}
    measure = ray.remote(
        num_cpus=execution.cpus_per_worker, num_gpus=execution.gpus_per_worker, max_retries=3, **accelerator
    )(_measure)
    named = {name: plain(trial) for name, trial in trials.items()}
    on_gpu = execution.gpus_per_worker > 0
    found: dict[str, float] = ray.get(measure.remote(named, plain(teacher), config.plugins, on_gpu))
    return found


def _measure(trials: Mapping[str, Any], teacher: Any, plugins: Mapping[str, Plugin], on_gpu: bool) -> dict[str, float]:
    """In a process of the cluster."""
    import torch

    from trainers.costs.step import step_seconds

    load(plugins)
    network = parse(TeacherConfig, {"model": teacher}).model
    read = {name: parse(TrialConfig, trial) for name, trial in trials.items()}
    return step_seconds(read, network, torch.device("cuda" if on_gpu else "cpu"))

"""The networks of a trial, built on the meta device: student, adapters, weighting; and one pass of the student."""

from collections.abc import Iterable, Mapping

import torch

from study.configuration.checks.findings import Finding, fault
from study.configuration.config import StudyConfig
from trainers.config import TrialConfig
from trainers.distillation.distiller import Distiller
from trainers.registry import module_of

UNBUILDABLE = (ValueError, RuntimeError, ZeroDivisionError)
"""What PyTorch, timm and the networks raise at sizes that they cannot have."""


def check_weighting(config: StudyConfig, name: str) -> Iterable[Finding]:
    """The arm's weighting fits the dataset's classes."""
    task, classes = config.arms[name].task, len(config.class_names)
    try:
        module_of(task).Weighting(task, num_classes=classes, iterations=config.train.iterations)
    except ValueError as error:
        yield fault(f"arms.{name}.task: {error}")


def check_networks(trial: TrialConfig, teacher_channels: Mapping[str, int] | None) -> Iterable[Finding]:
    """All networks of a trial can be built, and its student takes a batch of crops.

    Args:
        trial: the trial.
        teacher_channels: channels of each tap of its teacher; None where it has none.
    """
    classes = len(module_of(trial.data).Dataset.class_names)
    try:
        with torch.device("meta"):
            distiller = Distiller(trial, num_classes=classes, teacher_channels=teacher_channels)
            distiller.student(torch.empty(2, 3, *trial.augment.crop))
    except UNBUILDABLE as error:
        yield fault(" ".join(str(error).split()))

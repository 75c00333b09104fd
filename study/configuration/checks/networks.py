"""The networks of a trial, built on the meta device: student, adapters, weighting; and one pass of the student."""

from collections.abc import Callable, Iterable, Mapping

import torch

from study.configuration.checks.findings import Finding, fault
from study.configuration.config import StudyConfig
from trainers import models
from trainers.config import TrialConfig, canonical_json
from trainers.data.classes import classes_of
from trainers.distillation.distiller import Distiller
from trainers.models import SegmentationNetwork
from trainers.registry import module_of

UNBUILDABLE = (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, AssertionError)
"""What PyTorch, timm and the networks raise at sizes that they cannot have."""


def check_weighting(config: StudyConfig, name: str) -> Iterable[Finding]:
    """The arm's weighting fits the dataset's classes."""
    task, classes = config.arms[name].task, len(config.class_names)
    try:
        module_of(task).Weighting(task, num_classes=classes, iterations=config.train.iterations)
    except ValueError as error:
        yield fault(f"arms.{name}.task: {error}")


class Networks:
    """Builds the networks of trials on the meta device; equal students are built once."""

    def __init__(self) -> None:
        self._students: dict[str, SegmentationNetwork | str] = {}
        self._filled: dict[str, str | None] = {}
        self._passed: dict[str, str | None] = {}

    def check(self, trial: TrialConfig, teacher_channels: Mapping[str, int] | None) -> list[Finding]:
        """All networks of a trial can be built, and its student takes a batch of crops.

        Args:
            trial: the trial.
            teacher_channels: channels of each tap of its teacher; None where it has none.
        """
        classes = len(classes_of(trial.data).names)
        student = self._student(trial, classes)
        if isinstance(student, str):
            return [fault(student)]
        why = (
            self._pass(trial, student)
            or self._values(trial, classes)
            or _why(lambda: Distiller(trial, num_classes=classes, teacher_channels=teacher_channels, student=student))
        )
        return [fault(why)] if why else []

    def _student(self, trial: TrialConfig, classes: int) -> SegmentationNetwork | str:
        key = canonical_json(trial.student)
        if key not in self._students:
            why = _why(lambda: self._students.update({key: models.build(trial.student, num_classes=classes)}))
            if why:
                self._students[key] = why
        return self._students[key]

    def _values(self, trial: TrialConfig, classes: int) -> str | None:
        """Why the student cannot start from the file that it names: built with values, its outputs are not finite."""
        if getattr(trial.student, "weights", "none") in ("none", "timm"):
            return None
        key = canonical_json(trial.student)
        if key not in self._filled:
            with torch.random.fork_rng(devices=()):
                self._filled[key] = _why(lambda: models.build(trial.student, num_classes=classes), device="cpu")
        return self._filled[key]

    def _pass(self, trial: TrialConfig, student: SegmentationNetwork) -> str | None:
        """Why the student cannot take two crops."""
        key = canonical_json([trial.student, trial.augment.crop])
        if key not in self._passed:
            self._passed[key] = _why(lambda: student(torch.empty(2, 3, *trial.augment.crop)))
        return self._passed[key]


def _why(build: Callable[[], object], *, device: str = "meta") -> str | None:
    """Why something cannot be built there."""
    try:
        with torch.device(device):
            build()
    except ValueError as error:
        return str(error)
    except UNBUILDABLE as error:
        kind, text = type(error).__name__, " ".join(str(error).split())
        if isinstance(error, TypeError) and "abstract" in text:
            return f"a part must define all that its base class leaves to it, but: {text}; write it"
        return f"networks must be such that PyTorch can build them, but got {kind}: {text or 'no message'}; change them"
    return None

"""Which outputs of its teacher a trial reads, and when, as its configuration alone tells."""

from collections.abc import Collection
from typing import Any

import torch

from trainers import models
from trainers.config import TrialConfig, canonical_json
from trainers.difficulty import DifficultyWeighting
from trainers.methods import weighed
from trainers.registry import module_of


def taps_read(config: TrialConfig, *, teacher: Collection[str], num_classes: int) -> dict[str, int]:
    """For each tap that a trial reads of its teacher, one more than the last iteration at which it does.

    Args:
        config: a trial with a teacher.
        teacher: all taps that the teacher has.
        num_classes: classes of the dataset.

    Raises:
        ValueError: the student cannot be built, or the weighting does not fit the dataset.
    """
    student = _taps_of(config.student, num_classes)
    iterations = config.train.iterations
    weighting: DifficultyWeighting[Any] = module_of(config.task).Weighting(
        config.task, num_classes=num_classes, iterations=iterations
    )
    reads = {tap: _stop(weighting, tap, student, iterations) for tap in weighting.teacher_taps}
    for method in config.methods.values():
        if weighed(method):
            reads |= dict.fromkeys(module_of(method).Method.teacher_taps(method, teacher), iterations)
    return {tap: stop for tap, stop in sorted(reads.items()) if stop and tap in teacher}


_students: dict[tuple[str, int], frozenset[str]] = {}


def _taps_of(student: object, num_classes: int) -> frozenset[str]:
    """The taps of a network, which is built once for all trials that have it."""
    key = canonical_json(student), num_classes
    if key not in _students:
        with torch.device("meta"):
            _students[key] = frozenset(models.build(student, num_classes=num_classes, initial_weights=False).channels)
    return _students[key]


def _stop(weighting: DifficultyWeighting[Any], tap: str, student: Collection[str], iterations: int) -> int:
    """One more than the last iteration at which a weighting reads a tap; 0 where there is none."""
    return next((i + 1 for i in reversed(range(iterations)) if tap in weighting.taps_at(i, student)), 0)

"""A trial of about a second, and a teacher for it, for tests of what surrounds a network."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from trainers import models
from trainers.config import TrialConfig, parse, replaced
from trainers.data import streets
from trainers.data.transforms import Normalisation
from trainers.models import deeplabv3
from trainers.teachers import teacher

torch.set_num_threads(1)  # as a trial does; networks this small are slower on several

VALUES: dict[str, Any] = {
    "data": {"name": "streets", "size": [32, 48], "train_images": 5, "val_images": 3},
    "augment": {"crop": [32, 48]},
    "student": {"architecture": "deeplabv3", "backbone": "mobilenetv2_035", "head_channels": 16, "rates": [2, 4]},
    "train": {"iterations": 7, "batch": 2, "evaluate_every": 3},
    "task": {"weighting": "uniform"},
}
DISTILLED: dict[str, Any] = {
    "task": {"weighting": "rdd", "tfe_fraction": 0.5, "denominator": "kept", "tfe_denominator": "valid"},
    "methods": {"kd": {"temperature": 2}},
}
"""What makes the trial one with kd and rdd; `teacher/path` is to be added."""
READING: dict[str, Any] = {"methods": {"idd": {"pretraining": {"depth": 1, "iterations": 4, "batch": 2}}}}
"""What makes it one that reads positions from features of 4 x 6."""


def values(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The trial as plain values, changed at paths such as `train/batch`."""
    return reduce(lambda made, change: replaced(made, *change), (changes or {}).items(), VALUES)


def trial(changes: Mapping[str, Any] | None = None) -> TrialConfig:
    return parse(TrialConfig, values(changes))


def teacher_file(path: Path, **card: Any) -> Path:
    """An untrained teacher whose file says `card` of it."""
    model = deeplabv3.Config(backbone="mobilenetv2_035", head_channels=16, rates=(2, 4))
    torch.manual_seed(99)
    network = models.build(model, num_classes=len(streets.Dataset.class_names))
    said: dict[str, Any] = {
        "model": model,
        "class_names": streets.Dataset.class_names,
        "normalisation": Normalisation(),
        "data": streets.Config(size=(32, 48)),
        "miou_percent": 1.5,
        "probe_miou_percent": 1.25,
        "trained_by": "0" * 64,
    }
    teacher.save(network, teacher.TeacherCard(**(said | card)), path)
    return path

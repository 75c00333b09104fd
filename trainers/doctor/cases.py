"""The trials whose steps are examined: every method and every weighting, with small networks or those of the papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainers import models
from trainers.config import TrialConfig, parse
from trainers.data.classes import classes_of
from trainers.data.transforms import Normalisation
from trainers.registry import known, module_of
from trainers.teachers.teacher import Teacher, TeacherCard

WEIGHTINGS: Mapping[str, Mapping[str, Any]] = {
    "ohem": {"weighting": "ohem", "min_kept": 64},
    "focal": {"weighting": "focal"},
    "rdd, TFE": {"weighting": "rdd", "tfe_fraction": 1.0},
    "rdd, TSE": {"weighting": "rdd", "tfe_fraction": 0.0, "min_kept": 64},
}
BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Size:
    """Networks and images of an examination.

    Attributes:
        crop: height and width of the images in pixels.
        student: a network in the plain form of its Config.
        teacher: the same of the teacher's.
    """

    crop: tuple[int, int]
    student: Mapping[str, Any]
    teacher: Mapping[str, Any]


_TINY = {"architecture": "deeplabv3", "backbone": "mobilenetv2_035", "rates": [2, 4], "dropout": False}
_PAPERS = {"architecture": "deeplabv3", "dropout": False}
TINY = Size(crop=(64, 96), student={**_TINY, "head_channels": 8}, teacher={**_TINY, "head_channels": 16})
SMALL = Size(crop=(128, 256), student={**_PAPERS, "backbone": "resnet18"}, teacher={**_PAPERS, "backbone": "resnet34"})
PAPERS = Size(
    crop=(512, 1024), student={**_PAPERS, "backbone": "resnet18"}, teacher={**_PAPERS, "backbone": "resnet101"}
)


def trial(size: Size, *, task: Mapping[str, Any] | None = None, **changes: Any) -> TrialConfig:
    """A trial on drawn street scenes; `changes` are of its fields, those of `train` beside the usual ones."""
    height, width = size.crop
    values: dict[str, Any] = {
        "data": {"name": "streets", "size": [height, width], "train_images": BATCH, "val_images": 2},
        "augment": {"crop": [height, width], "scale": [1.0, 1.0]},
        "student": size.student,
        "task": task or {"weighting": "uniform"},
        **changes,
        "train": {"iterations": 8, "batch": BATCH, "evaluate_every": 8, **changes.get("train", {})},
    }
    return parse(TrialConfig, values)


def distilled(method: str) -> dict[str, Any]:
    """What makes a trial one that distils by a method at its defaults."""
    return {"methods": {method: {}}, "teacher": {"path": "none"}}


def settings() -> dict[str, dict[str, Any]]:
    """What makes the trial of each case, by the name of the case: every method, and every weighting beside KD."""
    methods = {name: distilled(name) for name in known("trainers.methods")}
    weightings = {name: {"task": task, **distilled("kd")} for name, task in WEIGHTINGS.items()}
    return {"no teacher": {}, **methods, **weightings}


def untrained_teacher(size: Size, of: TrialConfig) -> Teacher:
    """A teacher of random weights, the same at every call, on the CPU."""
    card = parse(
        TeacherCard,
        {"model": size.teacher, "class_names": list(classes_of(of.data).names), "normalisation": Normalisation()},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = module_of(card.model).Network(card.model, num_classes=len(card.class_names))
    assert isinstance(network, models.SegmentationNetwork)
    return Teacher(network, card)

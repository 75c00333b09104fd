"""A student's checkpoint as a teacher: read from where a trial left it, written as a teacher's file."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from trainers import models
from trainers.checkpoints.reading import read_metrics, read_student
from trainers.config import StoredPrecision, TrialConfig, content_hash, identity
from trainers.data.classes import classes_of
from trainers.data.splits import judging_images
from trainers.data.transforms import NORMALISATION
from trainers.evaluation.evaluation import evaluate
from trainers.models import SegmentationNetwork
from trainers.models.weights import load_weights
from trainers.registry import module_of
from trainers.teachers import teacher as teachers


def student(checkpoint: str | Path) -> tuple[TrialConfig, SegmentationNetwork, teachers.TeacherCard]:
    """What trained the student of a checkpoint, its network, and what a file of it says.

    Raises:
        ValueError: where `checkpoint` is none, or is damaged.
    """
    config, weights = read_student(checkpoint)
    names = classes_of(config.data).names
    network = models.build(config.student, num_classes=len(names), initial_weights=False)
    load_weights(network, weights, source=str(checkpoint))
    card = teachers.TeacherCard(
        model=config.student,
        class_names=names,
        normalisation=NORMALISATION,
        data=config.data,
        miou_percent=float(read_metrics(checkpoint)["eval/miou_percent"]),
        trained_by=content_hash(config),
        trial=identity(config),
    )
    return config, network, card


def export(checkpoint: str | Path, path: Path, *, stored: StoredPrecision = "float32") -> None:
    """Write the student of a checkpoint as a teacher's file, with what it scores on the first validation images.

    Where the weights are rounded, the scores are those of the rounded ones.

    Raises:
        ValueError: a weight is too large for what it is to be stored in.
    """
    config, network, card = student(checkpoint)
    teachers.round_weights(network, stored)
    judged = partial(evaluate, network, normalisation=NORMALISATION, device=torch.device("cpu"))
    if stored != "float32":
        images = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
        card = replace(card, stored=stored, miou_percent=judged(images).miou_percent)
    probe = judged(module_of(config.data).Dataset(config.data, "val"), images=teachers.PROBE_IMAGES)
    teachers.save(network, replace(card, probe_miou_percent=probe.miou_percent), path)

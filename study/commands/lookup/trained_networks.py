"""Loads the network of a trial's checkpoint or of a teacher's file, and a split of the dataset to apply it to."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from study.commands.lookup.datasets import dataset_config
from trainers import models
from trainers.checkpoints.reading import read_student
from trainers.config import TrialConfig, plain
from trainers.data import SegmentationDataset, Split
from trainers.data.transforms import NORMALISATION, Normalisation
from trainers.models.weights import load_weights
from trainers.registry import module_of
from trainers.teachers import teacher as teachers

STUDENT = "student.safetensors"
"""In a folder that `kdstudy export` has written, the student as a teacher's file."""


class TrainedNetwork(NamedTuple):
    """A network on the CPU, and what it was trained for; `trial` is None of a teacher's file."""

    network: nn.Module
    normalisation: Normalisation
    data: SegmentationDataset
    trial: TrialConfig | None


def load_trained(checkpoint: str | Path, *, dataset: str, root: str, split: Split) -> TrainedNetwork:
    """The network of a trial's checkpoint folder or of a teacher's file.

    Args:
        checkpoint: a `checkpoint_...` folder or its URL, a teacher's .safetensors file, or the folder that
            `kdstudy export` has written.
        dataset: name of a dataset; where the network was trained on the same one, at the size that it had then.
        root: the dataset's folder.
        split: of the dataset.

    Raises:
        ValueError: no such network or dataset, or they do not fit together.
    """
    file = Path(checkpoint)
    if (exported := file / STUDENT).is_file():  # what `kdstudy export` has written
        file = exported
    if file.is_file():
        data = _dataset(dataset, root, split, teachers.read_card(file).data)
        teacher = teachers.load(file, class_names=data.class_names)
        return TrainedNetwork(teacher.network, teacher.card.normalisation, data, None)
    trial, weights = read_student(checkpoint)
    data = _dataset(dataset, root, split, trial.data)
    network = models.build(trial.student, num_classes=len(data.class_names), initial_weights=False)
    load_weights(network, weights, source=str(checkpoint))
    return TrainedNetwork(network, NORMALISATION, data, trial)


def _dataset(name: str, root: str, split: Split, recorded: Any) -> SegmentationDataset:
    """A split of the dataset `name`, at the settings recorded with a network where those are of the same dataset.

    Raises:
        ValueError: unknown dataset, or one that does not lie at `root`.
    """
    config = dataset_config(name, root, plain(recorded) if recorded is not None and recorded.name == name else None)
    dataset: SegmentationDataset = module_of(config).Dataset(config, split)
    return dataset

"""What a study's students and its teacher predict on chosen images, by their checkpoints, as pictures to keep."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from analysis.difficulty import panels
from analysis.pictures.choice import Choice, Pictured
from analysis.pictures.drawing import with_palette
from analysis.pictures.predictions import BASELINE, BEST, RDD, TEACHER, Pictures, PredictedImage, small
from analysis.studies.study import Study
from study.commands.lookup.image_maps import Pair, trained_mask
from study.configuration.config import StudyConfig
from study.folder import read_config, trial_checkpoints
from study.ledger.lock import driver_of
from trainers.checkpoints.base import DamagedError
from trainers.checkpoints.manifest import TRIAL
from trainers.checkpoints.places import checkpoints_at, opened
from trainers.config import TrialConfig
from trainers.data import SegmentationDataset
from trainers.data.splits import judging_images
from trainers.data.transforms import NORMALISATION, Normalisation, tensors
from trainers.difficulty import rdd
from trainers.evaluation.evaluation import ONCE
from trainers.evaluation.prediction import predict
from trainers.plugins.content import named_plugins
from trainers.resources.gpu import kernels
from trainers.teachers import teacher as teachers
from trainers.teachers.from_checkpoint import student

Array = NDArray[Any]


class Network(NamedTuple):
    """A network in eval mode, and the normalisation of its images."""

    network: nn.Module
    normalisation: Normalisation


def predicted(study: Study, choice: Choice, *, plugins: bool) -> Pictures:
    """The pictures of a study.

    Args:
        study: the study.
        choice: trials and images.
        plugins: whether code of plugins that a checkpoint names may be run.

    Raises:
        ValueError: a checkpoint of a student, or the dataset, is not there or not whole, or memory is short.
    """
    config = read_config(study.folder)
    data = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
    shown = {whose: one for whose, one in ((BASELINE, choice.baseline), (BEST, choice.best)) if one is not None}
    device = _device(study.folder)
    try:
        with kernels(device, search=False):
            return _pictures(_Loader(study, config, device, plugins=plugins), data, choice, shown)
    except torch.OutOfMemoryError:
        raise ValueError(f"the memory of {device} does not suffice for an image; try again when it is free") from None


def _device(folder: Path) -> torch.device:
    """A GPU is left to the trials of a study that runs."""
    return torch.device("cuda" if torch.cuda.is_available() and driver_of(folder) is None else "cpu")


class _Loader:
    """The networks of a study, on a device."""

    def __init__(self, study: Study, config: StudyConfig, device: torch.device, *, plugins: bool) -> None:
        self._study, self._config, self._device, self._plugins = study, config, device, plugins

    def student(self, trial: Pictured) -> tuple[TrialConfig, Network]:
        """What a trial left at the evaluation by which it is judged."""
        place = trial_checkpoints(self._config, self._study.folder, trial.name.arm, trial.name.number)
        address = checkpoints_at(place).of(trial.iteration)
        if not self._plugins:
            _refuse_plugins(address)
        trained, network, _ = student(address)
        return trained, Network(network.to(self._device).eval(), NORMALISATION)

    def teacher(self) -> teachers.Teacher | None:
        """The study's; None in a study without one.

        Raises:
            ValueError: its file is not there, or not the one that the trials learned from.
        """
        note = self._study.teacher
        if note is None:
            return None
        sha256 = note.get("sha256")
        found = teachers.load(Path(note["path"]), class_names=self._config.class_names, expected_sha256=sha256)
        return found.to(self._device)


def _refuse_plugins(address: str) -> None:
    """Raise ValueError where a checkpoint would have plugins imported, whatever its study says, or is not whole."""
    try:
        with opened(address, (TRIAL,)) as folder:
            plugins = named_plugins(json.loads((folder / TRIAL).read_text()))
    except DamagedError as wrong:
        raise ValueError(f"predictions need the checkpoints that the scores come from, but {wrong}") from None
    if plugins:
        raise ValueError(f"{address} names plugins, and a report runs their code only where asked to: --pictures")


def _pictures(loader: _Loader, data: SegmentationDataset, choice: Choice, shown: Mapping[str, Pictured]) -> Pictures:
    networks = {whose: loader.student(trial)[1] for whose, trial in shown.items()}
    names = {whose: str(trial.name) for whose, trial in shown.items()}
    teacher, notes = _teacher(loader)
    if teacher is not None:
        networks[TEACHER] = Network(teacher.network, teacher.card.normalisation)
        names[TEACHER] = TEACHER
    places = _places(data, choice)
    images = [_image(data, places[chosen.name], chosen.why, networks) for chosen in choice.images]
    difficulty = b""
    if teacher is not None and choice.rdd is not None:
        difficulty = _difficulty(loader, teacher, choice.rdd, data, places[choice.images[0].name])
        names[RDD] = str(choice.rdd.name)
    return Pictures(
        names=names,
        class_names=tuple(data.class_names),
        palette=tuple(data.palette),
        images=tuple(images),
        difficulty=difficulty,
        notes=notes,
    )


def _places(data: SegmentationDataset, choice: Choice) -> Mapping[str, int]:
    """The index of each image of the split by its name."""
    places = {data.image_name(index): index for index in range(len(data))}
    lacking = [chosen.name for chosen in choice.images if chosen.name not in places]
    if lacking:
        raise ValueError(f"the dataset must have the images that trials were judged on, but lacks {lacking[0]!r}")
    return places


def _image(data: SegmentationDataset, index: int, why: str, networks: Mapping[str, Network]) -> PredictedImage:
    image, label = data.load(index)
    found = {whose: _prediction(network, image) for whose, network in networks.items()}
    classes = len(data.class_names)
    return small(data.image_name(index), why, image=image, label=label, predictions=found, classes=classes)


def _teacher(loader: _Loader) -> tuple[teachers.Teacher | None, tuple[str, ...]]:
    try:
        return loader.teacher(), ()
    except (ValueError, OSError) as lacking:
        return None, (f"The teacher is not among them: {lacking}.",)


@torch.no_grad()
def _prediction(network: Network, image: Array) -> Array:
    """Classes [H, W] of an image [H, W, 3], as an evaluation has them."""
    device = next(network.network.parameters()).device
    batch = tensors(image, np.zeros(image.shape[:2], np.uint8))[0].unsqueeze(0).to(device)
    found = predict(network.network, network.normalisation(batch), ONCE)
    return found[0].to(torch.uint8).cpu().numpy()


def _difficulty(
    loader: _Loader, teacher: teachers.Teacher, trial: Pictured, data: SegmentationDataset, index: int
) -> bytes:
    """The maps of one image at the trial's own threshold; nothing where its checkpoint is gone."""
    try:
        trained, network = loader.student(trial)
    except (ValueError, OSError):
        return b""
    assert isinstance(trained.task, rdd.Config)
    config = trained.task
    pair = Pair(
        student=network.network,
        normalisation=network.normalisation,
        teacher=teacher,
        config=config,
        thresholds=(config.threshold,),
    )
    reading = panels.Reading(
        class_names=data.class_names,
        palette=data.palette,
        confidence=config.confidence,
        trained=trained_mask(config),
    )
    return with_palette(panels.png(pair.maps_of(data, index)[0], reading))

"""What a student and a teacher predict on one image, and what RDD finds hard there, as arrays to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.data import SegmentationDataset
from trainers.data.transforms import Normalisation, tensors
from trainers.difficulty import rdd, upsample
from trainers.difficulty.maps import DifficultyMaps, difficulty_maps
from trainers.models import Taps
from trainers.teachers.teacher import Teacher

Classes = NDArray[np.uint8]
Scalars = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ImageMaps:
    """One image: [H, W, 3] RGB, all others [H, W]; the maps are those of `DifficultyMaps`."""

    name: str
    image: Classes
    label: Classes
    student_prediction: Classes
    teacher_prediction: Classes
    student_confidence: Scalars
    teacher_confidence: Scalars
    tfe_weight: Scalars | None
    student_hard: Mapping[float, Mask]
    teacher_hard: Mapping[float, Mask]
    masks: Mapping[str, Mapping[float, Mask]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A student in eval mode beside a teacher on the same device, and how RDD looks at them.

    Attributes:
        student: its network.
        normalisation: of the student's images.
        teacher: the teacher.
        config: `confidence` and `divergence` are read.
        thresholds: confidences at or below which a pixel is hard.
    """

    student: nn.Module
    normalisation: Normalisation
    teacher: Teacher
    config: rdd.Config
    thresholds: Sequence[float]

    @torch.no_grad()
    def maps_of(self, data: SegmentationDataset, index: int) -> tuple[ImageMaps, DifficultyMaps, Tensor]:
        """The maps of one image of a split, as arrays and as a batch of one, and its labels [1, H, W]."""
        device = next(self.student.parameters()).device
        image, label = data.load(index)
        images, labels = (tensor.unsqueeze(0).to(device) for tensor in tensors(image, label))
        labels = labels.long()
        ours: Taps = self.student(self.normalisation(images))
        theirs: Taps = self.teacher(images)
        maps = difficulty_maps(ours, theirs, labels, config=self.config, thresholds=self.thresholds)
        predictions = {
            f"{whose}_prediction": _array(upsample(taps["logits"], labels.shape[-2:]).argmax(1).to(torch.uint8))
            for whose, taps in (("student", ours), ("teacher", theirs))
        }
        arrays = {name: _array(value) for name, value in vars(maps).items()}
        drawn = ImageMaps(name=data.image_name(index), image=image, label=label, **predictions, **arrays)
        return drawn, maps, labels


def trained_mask(config: rdd.Config) -> tuple[str, float] | None:
    """Mask and threshold that the TSE stage of a training kept pixels by; None where it had no such stage."""
    mask = "student_hard" if config.combine == "ohem" else config.combine
    return (mask, config.threshold) if config.tfe_fraction < 1 else None


def _array(value: Any) -> Any:
    """A batch of one map as an array, in dicts too."""
    if isinstance(value, Tensor):
        return value.squeeze(0).cpu().numpy()
    return {key: _array(part) for key, part in value.items()} if isinstance(value, dict) else value

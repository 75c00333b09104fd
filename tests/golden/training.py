"""A training of 20 iterations whose losses agree to 1e-10 between CPUs.

The steps are those of `trainers.loop`: student and teacher, RDD's two stages, KD and CWD, SGD under the poly schedule,
in float64. Weights, images and labels come from counted random numbers, because PyTorch's normal numbers and OpenCV's
resizing differ in their last bits with the instruction set. Dropout is off, because its masks differ too. The learning
rate and the weights of the terms are small: where they are larger, a step multiplies a difference of rounding by ten.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden import ITERATIONS
from tests.trainers import small
from trainers import loop, models
from trainers.config import TrialConfig
from trainers.context import LocalContext
from trainers.data import IGNORE, Array, streets
from trainers.data.order import generator
from trainers.data.transforms import Normalisation, training_batches
from trainers.models import deeplabv3
from trainers.teachers.teacher import Teacher, TeacherCard

CLASSES = 11
CHANGES: dict[str, Any] = {
    "augment/scale": [1.0, 1.0],
    "student/head_channels": 8,
    "student/dropout": False,
    "train": {
        "iterations": ITERATIONS,
        "batch": 4,
        "evaluate_every": ITERATIONS,
        "precision": "float64",
        "optimizer": {"lr": 3e-4},
    },
    "task": {"weighting": "rdd", "tfe_fraction": 0.5, "threshold": 0.4},
    "methods": {"kd": {"temperature": 2}, "cwd": {"weights": {"features": 1, "logits": 1}}},
}


class Blocks:
    """Six images of 40 x 56: blocks of 8 x 8, each of one random class or ignored, in its class's colour plus noise."""

    class_names, palette, ids = streets.Dataset.class_names, streets.Dataset.palette, streets.Dataset.ids

    def __len__(self) -> int:
        return 6

    def image_name(self, index: int) -> str:
        return f"blocks/{index}"

    def load(self, index: int) -> tuple[Array, Array]:
        draw = generator("blocks", index)
        classes = draw.integers(CLASSES + 1, size=(5, 7)).repeat(8, axis=0).repeat(8, axis=1)
        colours = generator("colours").integers(200, size=(CLASSES + 1, 3))
        image = colours[classes] + draw.integers(56, size=(40, 56, 3))
        return image.astype(np.uint8), np.where(classes == CLASSES, IGNORE, classes).astype(np.uint8)


@torch.no_grad()
def fill(network: nn.Module, seed: str) -> None:
    """Draw the weights of convolutions uniformly with variance 2 / fan-in (He 2015), and set all biases to 0."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.dim() > 1:
            values = 2 * generator(seed, name).random(parameter.shape) - 1
            parameter.copy_(torch.from_numpy(values * (6 / parameter[0].numel()) ** 0.5))


def teacher() -> Teacher:
    """An untrained teacher in float64, with twice the student's features."""
    model = deeplabv3.Config(backbone="mobilenetv2_035", head_channels=16, rates=(2, 4))
    network = models.build(model, num_classes=CLASSES).double()
    fill(network, "teacher")
    return Teacher(network, TeacherCard(model=model, class_names=Blocks.class_names, normalisation=Normalisation()))


def batches(config: TrialConfig) -> Iterable[tuple[Tensor, Tensor]]:
    """Images uint8 [B, 3, H, W] and labels int64 [B, H, W], as a trial's loop reads them."""
    train = config.train
    return training_batches(Blocks(), config.augment, batch=train.batch, seed=config.data_seed, stop=train.iterations)


def curve(folder: Path) -> dict[str, list[float]]:
    """The loss and each of its unweighted terms by metric name, one value per iteration.

    Args:
        folder: of the trial; nothing is written there.
    """
    config = small.trial({**CHANGES, "teacher/path": "unread"})
    torch.set_num_threads(config.train.threads)
    parts, state = loop.prepare_step(config, LocalContext(folder), teacher(), num_classes=CLASSES)
    fill(state.distiller, "student")
    values: dict[str, list[float]] = {}
    for images, labels in batches(config):
        loop.step(parts, state, images, labels)
        for name, value in parts.objective.drain().items():
            values.setdefault(name, []).append(value)
    return values

"""`kdstudy position`: the position networks of a study's IDD arms, trained ahead of its trials and judged."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from study.commands.checked import typed_study
from study.commands.options import add_study
from study.commands.trials.train import arm_trial
from trainers.config import TrialConfig
from trainers.data.splits import judging_images, training_images
from trainers.distillation.pretraining import pretraining_data
from trainers.methods import position_training as networks
from trainers.methods.idd import Config
from trainers.teachers import teacher as teachers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    parser.add_argument("--arm", help="arm of the study, at its spaces' defaults; all that need it by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    for found in position(options.study, options.sets, arm=options.arm):
        print(
            f"{found.arm}: mean absolute error {found.error:.3f} of the map's side on {found.images} validation images "
            f"(a constant guess: {found.constant:.3f}), {found.path}"
        )
    return 0


class PositionAccuracy(NamedTuple):
    """The position network of an arm, and its mean absolute errors in units of the map's side."""

    arm: str
    path: Path
    images: int
    """Validation images that it was tested on, cut as in training."""
    error: float
    constant: float
    """That of the best guess which knows nothing of the features."""


def position(study: str, sets: Sequence[str], *, arm: str | None) -> list[PositionAccuracy]:
    """Train what the trials of a study would, or find it, and test it on the validation split.

    Args:
        study: a preset's name or a study's YAML file.
        sets: `path=value` settings on top.
        arm: one whose trials read positions; None for all of them.

    Raises:
        ValueError: no such arm, or its teacher is not trained yet, or a kept file does not fit.
    """
    config = typed_study(study, sets)
    named = [arm] if arm else [name for name, chosen in config.arms.items() if "idd" in chosen.methods]
    trials = {name: arm_trial(config, name, sets) for name in named}
    reading = {name: trial for name, trial in trials.items() if _reads_positions(trial)}
    if not reading:
        raise ValueError(
            f"a position network is for arms with idd and its weights.position above 0, but {arm or 'no arm'} of "
            f"{config.name} is {'none' if arm else 'one'}; add `methods: {{idd: {{}}}}`"
        )
    return [_accuracy(name, trial) for name, trial in reading.items()]


def _reads_positions(trial: TrialConfig) -> bool:
    return "idd" in trial.methods and trial.methods["idd"].weights.position > 0


def _accuracy(arm: str, trial: TrialConfig) -> PositionAccuracy:
    assert trial.teacher is not None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = training_images(trial.data, holdout=trial.holdout)
    validation = judging_images(trial.data, trial.evaluate_on, holdout=trial.holdout)
    data = pretraining_data(trial, training, device)
    idd: Config = trial.methods["idd"]
    teacher = teachers.load(Path(trial.teacher.path), class_names=training.class_names)
    network = networks.learned(idd.pretraining, teacher.channels["features"], data)
    read = networks.read_out(network, pretraining_data(trial, validation, device), images=len(validation))
    return PositionAccuracy(
        arm=arm,
        path=networks.kept_at(idd.pretraining, data),
        images=len(validation),
        error=read.error,
        constant=read.constant,
    )

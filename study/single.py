"""One trial outside a study, and the evaluation of what it left: with Ray Train workers, or without Ray."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from study.config import TEACHER, StudyConfig, load
from study.teaching import StudyTeacher
from trainers import models
from trainers import teacher as teachers
from trainers.checkpoint import read_student
from trainers.config import TrialConfig, canonical_json, parse, plain
from trainers.data import SegmentationDataset
from trainers.evaluation import evaluate as count
from trainers.loop import NORMALISATION
from trainers.models.weights import load_weights
from trainers.registry import implementations, nearest

TRIAL = "trial.json"


def train(study: str, sets: Sequence[str], *, arm: str | None, out: Path | None, workers: int) -> Mapping[str, Any]:
    """Train one trial of an arm at its spaces' defaults, or go on with it where it was stopped.

    Args:
        study: a preset's name or a YAML file.
        sets: `path=value` settings on top.
        arm: of the study; its first by default, "teacher" for the teacher.
        out: folder of the trial; runs/<study>-<arm> by default.
        workers: Ray Train workers; 0 trains in this process, without Ray.

    Returns:
        The last report, or "error".

    Raises:
        ValueError: wrong input.
    """
    config = load(study, sets)
    if workers:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, workers=workers))
    arm = arm or next(iter(config.arms))
    folder = (out or Path("runs") / f"{config.name}-{arm}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    trial = _trial(config, arm, folder)
    held = folder / TRIAL
    if held.exists() and held.read_text() != canonical_json(trial):
        raise ValueError(f"--out must be a new folder or hold this trial, but {folder} holds another; choose another")
    held.write_text(canonical_json(trial))
    if workers == 0:
        from trainers.context import LocalContext
        from trainers.worker import attempt

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return attempt(plain(trial), LocalContext(folder, device=device), config.execution.loader_workers)
    return _with_ray(config, trial, folder)


def _trial(config: StudyConfig, arm: str, folder: Path) -> TrialConfig:
    if arm == TEACHER:
        return config.teacher_trial()
    if arm not in config.arms:
        raise ValueError(f"--arm must be an arm of {config.name}, but got {arm!r}; {nearest(arm, config.arms)}")
    teacher = None
    if config.needs_teacher(arm):
        found = StudyTeacher(config, folder, print)
        if found.must_train:
            raise ValueError(f"{arm} distils, but its teacher is not trained yet; first: kdstudy teacher {config.name}")
        teacher = found.file
    return config.trial(arm, config.space(arm).defaults(), teacher)


def _with_ray(config: StudyConfig, trial: TrialConfig, folder: Path) -> Mapping[str, Any]:
    from study import session

    with session.connected(config, "local"):
        session.concurrency(config)
        import ray.train
        from ray.train.torch import TorchTrainer

        from trainers.worker import train_rank

        gpus = config.execution.gpus_per_worker
        resources = {"CPU": config.execution.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
        trainer = TorchTrainer(
            train_rank,
            train_loop_config={"config": plain(trial), "loader_workers": config.execution.loader_workers},
            scaling_config=ray.train.ScalingConfig(
                num_workers=trial.train.workers, use_gpu=bool(gpus), resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                failure_config=ray.train.FailureConfig(max_failures=config.execution.max_attempts - 1),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            ),
        )
        return dict(trainer.fit().return_value or {})


def evaluate(checkpoint: Path, *, dataset: str, root: str, split: str) -> dict[str, Any]:
    """Score a trial's checkpoint folder or a teacher's file on a split.

    Args:
        checkpoint: a `checkpoint_...` folder, or a teacher's .safetensors file.
        dataset: name of a dataset; where the trial used the same one, at the size that it used.
        root: the dataset's folder.
        split: "train" or "val".

    Returns:
        {"miou_percent", "pixel_accuracy_percent", "class_iou_percent": {class: percent or None}, "images"}.

    Raises:
        ValueError: wrong input.
    """
    if checkpoint.is_file():
        data = _dataset(dataset, root, split, teachers.read_card(checkpoint).data)
        teacher = teachers.load(checkpoint, class_names=data.class_names)
        network, normalisation = teacher.network, teacher.card.normalisation
    else:
        trial, weights = read_student(checkpoint)
        data = _dataset(dataset, root, split, trial.data)
        network = models.build(trial.student, num_classes=len(data.class_names))
        load_weights(network, weights, source=str(checkpoint))
        normalisation = NORMALISATION
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    counted = count(network.to(device), data, normalisation=normalisation, device=device)
    ious = counted.iou_percent(data.class_names)
    return {
        "miou_percent": counted.miou_percent,
        "pixel_accuracy_percent": counted.pixel_accuracy_percent,
        "class_iou_percent": {name: ious.get(name) for name in data.class_names},
        "images": len(data),
    }


def _dataset(name: str, root: str, split: str, recorded: Any) -> SegmentationDataset:
    """A split of the dataset `name`, at the settings recorded with a network where those are of the same dataset.

    Raises:
        ValueError: unknown dataset, or one that does not lie at `root`.
    """
    known = implementations("trainers.data")
    if name not in known:
        raise ValueError(f"--dataset must be one of trainers/data, but got {name!r}; {nearest(name, known)}")
    values = plain(recorded) if recorded.name == name else {}
    config = parse(known[name].Config, {**values, **({"root": root} if root else {})})
    dataset: SegmentationDataset = known[name].Dataset(config, split)
    return dataset

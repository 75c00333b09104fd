"""Faults of a study's configuration that its types cannot see: data, teacher, networks, and what the spaces search.

Everything is built on the meta device and nothing is started. Each fault is one line: its path in the file, the law,
the value, the remedy.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from search_spaces.space import Space, SpaceError
from study.configuration.config import TEACHER, ExecutionConfig, StudyConfig
from study.configuration.identity import on_gpus
from study.configuration.searches import search_faults
from study.configuration.tuning import NO_CAP
from trainers import models
from trainers.addresses import is_url
from trainers.checkpoints.store import refuse_url
from trainers.config import ConfigError, TeacherFile, TrainConfig, TrialConfig
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images, training_images
from trainers.distillation.distiller import Distiller
from trainers.registry import module_of, nearest
from trainers.teachers.teacher import read_card


def faults(config: StudyConfig) -> Iterable[str]:
    """Faults of a configuration that its types cannot see, one line each."""
    yield from _check_data(config)
    yield from search_faults(config)
    yield from _check_execution(config.execution)
    yield from _check_checkpoints(config)
    wrong = list(_check_weightings(config))
    if wrong:
        yield from wrong  # every arm with one would repeat it with its networks
        return
    channels = None
    try:
        channels = _teacher_channels(config)
    except ValueError as error:
        yield f"teacher: {error}"
    yield from _check_teacher(config)
    yield from budget_faults(config)
    yield from _check_matched(config)
    # a further search has the faults of the first
    searched_once = [name for name, arm in config.arms.items() if arm.search_of not in config.arms]
    of_arms = [fault for name in searched_once for fault in _check_arm(config, name, channels)]
    yield from of_arms or _check_workers(config)


def budget_faults(config: StudyConfig) -> Iterable[str]:
    """Every arm ends, and a budget is in a unit that the study has."""
    budgets = {"budget": config.budget} | {f"arms.{name}.budget": arm.budget for name, arm in config.arms.items()}
    for where, budget in budgets.items():
        if budget is None:
            continue
        if len(budget.given) != 1:
            named = ", ".join(budget.given) or "nothing"
            yield f"{where}: must name one of whole_trials, iterations, seconds, but got {named}; keep one"
        elif budget.seconds is not None and config.price != "measured":
            yield f"{where}.seconds: needs price: measured, but got price: {config.price}; set it, or give whole_trials"
    for name, arm in config.arms.items():
        if arm.replicated and arm.budget is not None:
            yield f"arms.{name}.budget: is for arms that search, but this one only repeats its setting; give trials"
        if arm.trials == NO_CAP and config.budget_of(name) is None:
            yield f"arms.{name}.trials: is required where the arm has no budget by cost; give trials, or a budget"
    if config.search.sampler == "grid":
        yield from _check_grid(config)


def _check_grid(config: StudyConfig) -> Iterable[str]:
    for name in config.searching:
        try:
            conditional = [path for path, one in config.space(name).parameters.items() if one.when]
        except SpaceError:  # told with the arm
            continue
        if conditional:
            yield (
                f"search.sampler: grid must have parameters that always exist, but arms.{name} searches "
                f"{', '.join(conditional)}, which have conditions; leave their `when` out, or choose another sampler"
            )


def _check_matched(config: StudyConfig) -> Iterable[str]:
    """Only a plain arm is matched, and to another arm whose length is its own."""
    for name, arm in config.arms.items():
        if arm.matched is None:
            continue
        where, other = f"arms.{name}.matched", config.arms.get(arm.matched)
        if arm.methods or config.needs_teacher(name):
            yield f"{where}: is for an arm without methods and teacher, but this one has some; leave it out"
        if other is None or arm.matched == name:
            yield f"{where}: must be another arm, but got {arm.matched!r}; {nearest(arm.matched, config.arms)}"
        elif other.matched is not None:
            yield f"{where}: must be an arm with the study's iterations, but {arm.matched} is matched too; name another"
        searched = () if arm.replicated else arm.space
        if "train/iterations" in _paths(config, searched):
            yield f"{where}: sets train/iterations, but the arm searches it; leave one of them out"


def _paths(config: StudyConfig, spaces: tuple[str, ...]) -> Iterable[str]:
    try:
        return Space.load(*spaces, kept=config.spaces).parameters
    except SpaceError:  # told with the arm
        return ()


def _check_weightings(config: StudyConfig) -> Iterable[str]:
    for name, arm in config.arms.items():
        try:
            module_of(arm.task).Weighting(
                arm.task, num_classes=len(config.class_names), iterations=config.train.iterations
            )
        except ValueError as error:
            yield f"arms.{name}.task: {error}"


def _check_data(config: StudyConfig) -> Iterable[str]:
    # a teacher is always held against the validation split
    for split in ("train", "val"):
        try:
            module_of(config.data).Dataset(config.data, split)
        except ValueError as error:
            yield f"data: {error}"
            return
    try:
        training_images(config.data, holdout=config.holdout)
        judged = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
    except ValueError as error:
        yield f"evaluate_on: {error}"
        return
    try:
        image_groups(judged, config.groups)
    except ValueError as error:
        yield f"groups: {error}"


def _check_execution(execution: ExecutionConfig) -> Iterable[str]:
    gpus = execution.gpus_per_worker
    if gpus > 1 and gpus != int(gpus):
        yield (
            f"execution.gpus_per_worker: above 1 it must be a whole number, but got {gpus:g}; give {int(gpus)} or "
            f"{int(gpus) + 1}"
        )
    if execution.accelerator_type is not None and not gpus:
        yield (
            f"execution.accelerator_type: {execution.accelerator_type} is a GPU, but got gpus_per_worker=0; set "
            "execution.gpus_per_worker, or leave accelerator_type out"
        )


def _check_workers(config: StudyConfig) -> Iterable[str]:
    """What trials of several workers need that others do not."""
    workers, execution = config.workers, config.execution
    if workers == 1:
        return
    if execution.engine == "inline":
        yield f"execution.engine: inline trials have one worker, but got train.workers={workers}; set engine: train"
    if 0 < execution.gpus_per_worker < 1:
        yield (
            "execution.gpus_per_worker: a share of a GPU is for trials of one worker, because NCCL refuses two ranks "
            f"on one GPU, but got {execution.gpus_per_worker:g} and train.workers={workers}; give each worker 1 GPU, "
            "or set train.workers to 1"
        )


def _check_checkpoints(config: StudyConfig) -> Iterable[str]:
    place = config.execution.checkpoints
    if place is not None and is_url(place):
        try:
            refuse_url(place)
        except ValueError as error:
            yield f"execution.checkpoints: {error}"


def _check_teacher(config: StudyConfig) -> Iterable[str]:
    teacher = config.teacher
    if not config.any_needs_teacher:
        return
    if teacher.file is None and teacher.model is None:
        yield "teacher: an arm distils, so a teacher.file or a teacher.model with teacher.train is required"
    elif teacher.file is None and teacher.train is None:
        yield "teacher.train: is required with teacher.model"
    elif teacher.file is None:
        trial = config.teacher_trial()
        yield from _check_batch(config, "teacher", trial.train)
        yield from _check_networks("teacher", trial, None)


def _teacher_channels(config: StudyConfig) -> Mapping[str, int] | None:
    """Channels of the teacher's taps, from its configuration or its file's card.

    Raises:
        ValueError: where the file is none, or of other classes.
    """
    model = config.teacher.model
    if not config.any_needs_teacher:
        return None
    if config.teacher.file is not None:
        card = read_card(Path(config.teacher.file))
        if len(card.class_names) != len(config.class_names):
            raise ValueError(
                f"teacher and dataset must have the same classes, but the file has {len(card.class_names)} and "
                f"{config.data.name} has {len(config.class_names)}"
            )
        model = card.model
    if model is None:
        return None
    with torch.device("meta"):
        return models.build(model, num_classes=len(config.class_names)).channels


def _check_arm(config: StudyConfig, name: str, channels: Mapping[str, int] | None) -> Iterable[str]:
    where = f"arms.{name}"
    if name == TEACHER:
        yield f"{where}: this name is the teacher's own; call the arm something else"
        return
    try:
        space = config.space(name)
    except SpaceError as error:
        yield from (f"{where}.space: {fault}" for fault in error.faults)
        return
    stand_in = TeacherFile(path="teacher")
    try:
        trial = config.trial(name, space.defaults(), stand_in)
    except ConfigError as error:
        yield from (f"{where}: {fault}" for fault in error.faults)
        return
    yield from _check_batch(config, where, trial.train)
    taught = config.needs_teacher(name)
    if channels is not None or not taught:  # else the teacher's own fault says what is wrong
        yield from _check_networks(where, trial, channels if taught else None)
    yield from _check_paths(config, name, space)
    yield from _check_replicates(config, name)
    for position, values in enumerate(config.arms[name].enqueue if config.arms[name].space else ()):
        try:
            space.check(values)
        except SpaceError as error:
            yield from (f"{where}.enqueue.{position}: {fault}" for fault in error.faults)


def _check_replicates(config: StudyConfig, name: str) -> Iterable[str]:
    """An arm without a space has one setting, and its replicates are told apart by their seeds."""
    arm = config.arms[name]
    if not arm.replicated:
        return
    if arm.enqueue:
        yield f"arms.{name}.enqueue: is for arms that search, but this one has no space; add one, or use fixed"
    for path in ("data_seed", "init_seed"):
        if path in arm.fixed:
            yield f"arms.{name}.fixed: {path} is what tells replicates apart; leave it out, or change the study's seed"


def _check_paths(config: StudyConfig, name: str, space: Space) -> Iterable[str]:
    """Every searched or fixed path is a leaf of the trial, and the ends of its range are allowed there."""
    arm = config.arms[name]
    searched = () if arm.replicated else tuple(space.parameters)
    leaves = sorted(_leaves(config.unsearched(name)))
    for path in (*searched, *arm.fixed):
        if path not in leaves:
            yield f"arms.{name}.space: {path} is nothing that this arm's trials have; {nearest(path, leaves)}"
    for path in searched:
        for value in space.values(path) if path in leaves else ():
            try:
                config.trial(name, {path: value}, TeacherFile(path="teacher"))
            except ConfigError as error:
                yield from (f"arms.{name}.space: {fault}" for fault in error.faults)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterable[str]:
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}/")
        else:
            yield path


def _check_networks(where: str, trial: TrialConfig, teacher_channels: Mapping[str, int] | None) -> Iterable[str]:
    """Build everything on the meta device: networks, adapters, taps."""
    if trial.augment.scale[0] > trial.augment.scale[1]:
        yield f"augment.scale: the lowest factor must come first, but got {list(trial.augment.scale)}"
    try:
        with torch.device("meta"):
            classes = len(module_of(trial.data).Dataset.class_names)
            Distiller(trial, num_classes=classes, teacher_channels=teacher_channels)
    except ValueError as error:
        yield f"{where}: {error}"


def _check_batch(config: StudyConfig, where: str, train: TrainConfig) -> Iterable[str]:
    """Every worker has the same share of a batch, and enough of it to normalise by."""
    if train.batch % train.workers:
        yield (
            f"{where}: train.batch must be a multiple of train.workers, but got batch={train.batch} and "
            f"workers={train.workers}; change one of them"
        )
    try:
        train.refuse_single_images(workers=train.workers, on_gpus=on_gpus(config))
    except ValueError as error:
        yield f"{where}: {error}"

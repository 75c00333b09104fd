"""StudyConfig: what a study compares, with what budget, on which machines; faults are found before a cluster starts.

A study has arms. An arm is one way to train (the plain baseline, KD alone, RDD with KD, ...) with its own search space
and its own share of trials. Data, augmentation, student and schedule are the study's, the same for every arm; so is the
teacher. A file is read strictly: `load` reports all faults together, each with its path in the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, MinLen
from pydantic import StringConstraints

from search_spaces.space import Space, SpaceError
from trainers.config import (
    AugmentConfig,
    ConfigError,
    TeacherFile,
    TrainConfig,
    TrialConfig,
    absolute,
    parse,
    plain,
    replaced,
)
from trainers.registry import OneOf, SomeOf, implementations, module_of, nearest

PRESETS = Path(__file__).parent / "presets"
TEACHER = "teacher"
"""Name of the arm whose one trial trains the teacher; no arm of a file may have it."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """One way to train, and what is searched in it.

    Attributes:
        trials: trials that end COMPLETE or PRUNED; failed ones are replaced.
        space: names or files of search spaces; their union is searched.
        task: weighting of the task loss.
        methods: distillation methods by name.
        fixed: values by path that this arm does not search but sets, e.g. `train/optimizer/lr: 0.1`.
        enqueue: settings to try right after the spaces' defaults, each a mapping from path to value.
    """

    trials: Annotated[int, Ge(1)]
    space: Annotated[tuple[str, ...], MinLen(1)]
    task: Annotated[Any, OneOf("trainers.difficulty", "weighting")] = field(
        default_factory=lambda: implementations("trainers.difficulty")["uniform"].Config()
    )
    methods: Annotated[Mapping[str, Any], SomeOf("trainers.methods")] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    enqueue: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The teacher of a study: a file that exists, or a network and how to train it.

    Attributes:
        file: a teacher's file; it wins over `model`.
        model: network to train as a teacher when no `file` is named.
        train: how; required with `model`.
        folder: where trained teachers are kept, by the content of what trained them, for other studies to reuse.
    """

    file: str | None = field(default=None, metadata={"location": True})
    model: Annotated[Any, OneOf("trainers.models", "architecture")] | None = None
    train: TrainConfig | None = None
    folder: str = field(default="runs/teachers", metadata={"location": True})


@dataclass(frozen=True, kw_only=True)
class PruningConfig:
    """Early stopping by successive halving over iterations.

    Attributes:
        reduction_factor: one in so many trials goes on from each rung; 0 switches early stopping off.
        grace_iterations: the first rung; raised to the longest TFE stage below 1 plus one evaluation.
    """

    reduction_factor: Literal[0, 2, 3, 4, 5] = 3
    grace_iterations: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how trials run; nothing here changes a number.

    Attributes:
        engine: "train" runs each trial as a Ray Train worker group; "inline" runs one-worker trials in the process of
            the trial itself, which starts at once.
        concurrent: trials at a time; None for as many as the cluster has room for.
        cpus_per_worker: CPUs each worker reserves.
        gpus_per_worker: GPUs each worker reserves, may be a fraction.
        loader_workers: processes per worker that read and augment images.
        max_attempts: how often a trial may be started after machines were lost.
        max_failed: failed trials of one arm after which the study gives that arm up.
        start_timeout_s: seconds after which a trial that cannot be placed fails.
    """

    engine: Literal["train", "inline"] = "train"
    concurrent: Annotated[int, Ge(1)] | None = None
    cpus_per_worker: Annotated[float, Gt(0)] = 1
    gpus_per_worker: Annotated[float, Ge(0)] = 0
    loader_workers: Annotated[int, Ge(0)] = 0
    max_attempts: Annotated[int, Ge(1)] = 3
    max_failed: Annotated[int, Ge(1)] = 5
    start_timeout_s: Annotated[float, Gt(0)] = 60


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study.

    Attributes:
        name: also names the study's folder and its Optuna studies.
        seed: of samplers and, through `data_seed` and `init_seed`, of every trial.
        storage: "journal" for a file in the study's folder, or an RDB URL that Optuna knows.
        objective: what Optuna maximises: the mIoU of the last evaluation, or of the best one (optimistic).
        startup_trials: trials of an arm before TPE takes over from random sampling.
    """

    name: Name
    data: Annotated[Any, OneOf("trainers.data", "name")]
    augment: AugmentConfig
    student: Annotated[Any, OneOf("trainers.models", "architecture")]
    train: TrainConfig
    arms: Annotated[Mapping[Name, ArmConfig], MinLen(1)]
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    seed: Annotated[int, Ge(0)] = 0
    storage: str = "journal"
    objective: Literal["last", "best"] = "last"
    startup_trials: Annotated[int, Ge(1)] = 5
    pruning: PruningConfig = field(default_factory=PruningConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def trial(self, arm: str, values: Mapping[str, Any], teacher: TeacherFile | None) -> TrialConfig:
        """The trial of an arm with these searched values by path.

        Raises:
            ConfigError: where a value does not fit.
        """
        chosen = self.arms[arm]
        trial = {
            **self._shared(),
            "student": plain(self.student),
            "train": plain(self.train),
            "task": plain(chosen.task),
            "methods": plain(chosen.methods),
            "teacher": plain(teacher) if self.needs_teacher(arm) else None,
        }
        for path, value in {**chosen.fixed, **values}.items():
            trial = replaced(trial, path, value)
        return parse(TrialConfig, trial)

    def teacher_trial(self) -> TrialConfig:
        """The trial that trains the teacher: its network and schedule, no distillation."""
        assert self.teacher.model is not None and self.teacher.train is not None
        trained = {
            **self._shared(),
            "student": plain(self.teacher.model),
            "train": plain(self.teacher.train),
            "task": {"weighting": "uniform"},
        }
        return parse(TrialConfig, trained)

    def _shared(self) -> dict[str, Any]:
        return {
            "data": plain(self.data),
            "augment": plain(self.augment),
            "data_seed": self.seed,
            "init_seed": self.seed,
        }

    def space(self, arm: str) -> Space:
        """What an arm searches."""
        return _space(self.arms[arm].space)

    def needs_teacher(self, arm: str) -> bool:
        chosen = self.arms[arm]
        weighting = module_of(chosen.task).Weighting(
            chosen.task, num_classes=len(self.class_names), iterations=self.train.iterations
        )
        return bool(chosen.methods) or bool(weighting.needs_teacher)

    @property
    def any_needs_teacher(self) -> bool:
        return any(self.needs_teacher(arm) for arm in self.arms)

    def grace(self, arm: str) -> int:
        """Iterations before which no trial of an arm is stopped: its longest TFE stage below 1 plus one evaluation."""
        fractions = _tfe_fractions(self, arm)
        longest = max((f for f in fractions if f < 1), default=0.0)
        tfe = round(longest * self.train.iterations)
        return max(self.pruning.grace_iterations, tfe + self.train.evaluate_every)

    @property
    def class_names(self) -> tuple[str, ...]:
        names: tuple[str, ...] = module_of(self.data).Dataset.class_names
        return names


@cache
def _space(names: tuple[str, ...]) -> Space:
    return Space.load(*names)


def _tfe_fractions(config: StudyConfig, arm: str) -> tuple[float, ...]:
    path = "task/tfe_fraction"
    chosen = config.arms[arm]
    space = config.space(arm)
    if path in space.parameters:
        return tuple(float(value) for value in space.values(path))
    return (chosen.fixed.get(path, getattr(chosen.task, "tfe_fraction", 0.0)),)


def prunable(trial: TrialConfig) -> bool:
    """Whether a trial may be stopped early: one that stays in the TFE stage to its end may not."""
    return float(getattr(trial.task, "tfe_fraction", 0.0)) < 1


def presets() -> dict[str, Path]:
    """Files of the presets by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def load(study: str, sets: Sequence[str] = ()) -> StudyConfig:
    """Read a preset's name or a YAML file, with `path=value` settings on top.

    Raises:
        ConfigError: with every fault of the file, its spaces, networks and data.
    """
    values = read_yaml(_path(study))
    for setting in sets:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError([f"--set must be path=value, but got {setting!r}; for example --set seed=1"])
        values = replaced(values, path, yaml.safe_load(text), separator=".")
    config = absolute(parse(StudyConfig, _listed_spaces(values)))
    faults = list(check(config))
    if faults:
        raise ConfigError(faults)
    return config


def _path(study: str) -> Path:
    if study in presets():
        return presets()[study]
    path = Path(study)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError([f"a study must be a preset or a YAML file, but there is no file {study!r}"])
    raise ConfigError([f"a study must be a preset or a YAML file, but got {study!r}; {nearest(study, presets())}"])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: where it cannot be read as one.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([f"{path} must be readable YAML, but: {error}"]) from None
    if not isinstance(values, dict):
        raise ConfigError([f"{path} must hold a mapping, but holds {type(values).__name__}"])
    return values


def _listed_spaces(values: dict[str, Any]) -> dict[str, Any]:
    """Let `space: rdd` stand for `space: [rdd]`."""
    arms = values.get("arms")
    if not isinstance(arms, dict):
        return values
    read = {
        name: {**arm, "space": [arm["space"]]} if isinstance(arm, dict) and isinstance(arm.get("space"), str) else arm
        for name, arm in arms.items()
    }
    return {**values, "arms": read}


def check(config: StudyConfig) -> Iterable[str]:
    """Faults of a configuration that its types cannot see, one line each."""
    yield from _check_data(config)
    yield from _check_teacher(config)
    for name in config.arms:
        yield from _check_arm(config, name)


def _check_data(config: StudyConfig) -> Iterable[str]:
    for split in ("train", "val"):
        try:
            module_of(config.data).Dataset(config.data, split)
        except ValueError as error:
            yield f"data: {error}"
            return


def _check_teacher(config: StudyConfig) -> Iterable[str]:
    teacher = config.teacher
    if not config.any_needs_teacher:
        return
    if teacher.file is None and teacher.model is None:
        yield "teacher: an arm distils, so a teacher.file or a teacher.model with teacher.train is required"
    elif teacher.file is None and teacher.train is None:
        yield "teacher.train: is required with teacher.model"
    elif teacher.file is None:
        yield from _check_networks("teacher", config.teacher_trial(), None)


def _teacher_channels(config: StudyConfig) -> Mapping[str, int] | None:
    """Channels of the teacher's taps, from its configuration or its file's card.

    Raises:
        ValueError: where the file is none, or of other classes.
    """
    import torch

    from trainers import models
    from trainers.teacher import read_card

    model = config.teacher.model
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


def _check_arm(config: StudyConfig, name: str) -> Iterable[str]:
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
        channels = _teacher_channels(config) if config.needs_teacher(name) else None
    except ConfigError as error:
        yield from (f"{where}: {fault}" for fault in error.faults)
        return
    except ValueError as error:
        yield f"teacher: {error}"
        return
    yield from _check_networks(where, trial, channels)
    yield from _check_paths(config, name, space)
    for position, values in enumerate(config.arms[name].enqueue):
        try:
            space.check(values)
        except SpaceError as error:
            yield from (f"{where}.enqueue.{position}: {fault}" for fault in error.faults)
    if config.execution.engine == "inline" and config.train.workers > 1:
        yield f"execution.engine: inline trials have one worker, but got train.workers={config.train.workers}"


def _check_paths(config: StudyConfig, name: str, space: Space) -> Iterable[str]:
    """Every searched or fixed path is a leaf of the trial, and the ends of its range are allowed there."""
    arm = config.arms[name]
    bare = {
        **plain(config),
        "task": plain(arm.task),
        "methods": plain(arm.methods),
        "data_seed": config.seed,
        "init_seed": config.seed,
    }
    leaves = sorted(_leaves(bare))
    for path in (*space.parameters, *arm.fixed):
        if path not in leaves:
            yield f"arms.{name}.space: {path} is nothing that this arm's trials have; {nearest(path, leaves)}"
    for path in space.parameters:
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
    import torch

    from trainers.distiller import Distiller

    if trial.train.batch % trial.train.workers:
        yield (
            f"{where}: train.batch must be a multiple of train.workers, but got batch={trial.train.batch} and "
            f"workers={trial.train.workers}"
        )
    if trial.train.batch // trial.train.workers < 2 and not trial.train.freeze_batch_norm:
        yield (
            f"{where}: batch normalisation needs two images per worker, but got batch={trial.train.batch} for "
            f"workers={trial.train.workers}; raise train.batch or set train.freeze_batch_norm"
        )
    if trial.augment.scale[0] > trial.augment.scale[1]:
        yield f"augment.scale: the lowest factor must come first, but got {list(trial.augment.scale)}"
    try:
        with torch.device("meta"):
            classes = len(module_of(trial.data).Dataset.class_names)
            Distiller(trial, num_classes=classes, teacher_channels=teacher_channels)
    except ValueError as error:
        yield f"{where}: {error}"

"""StudyConfig: what a study compares, with what budget, on which machines.

A study has arms. An arm is one way to train (the plain baseline, KD alone, RDD with KD, ...) with its own search space
and its own share of trials. Data, augmentation, student and schedule are the study's, the same for every arm; so is the
teacher. Files are read in `study.configuration.loading`; what the types here cannot see is checked in
`study.configuration.checks`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from search_spaces.parameters import Parameter
from search_spaces.space import Int, Space, read_entries
from study.configuration.decoded import DecodedConfig, DecodedImages
from study.configuration.outline import ArmOutline, Name, StudyOutline
from study.configuration.recordings.config import Record, RecordConfig
from study.configuration.trackers.config import Trackers, TrackersConfig
from study.configuration.tuning import EQUAL, PruningConfig
from trainers.addresses import joined
from trainers.checkpoints.interval import Interval
from trainers.config import (
    LATER,
    NEUTRAL,
    AugmentConfig,
    EvaluationSplit,
    StoredPrecision,
    TeacherFile,
    TrainConfig,
    TrialConfig,
    content_hash,
    parse,
    plain,
    replaced,
)
from trainers.data.classes import classes_of
from trainers.data.decoded.plan import DecodedPlan
from trainers.plugins.content import Plugin
from trainers.plugins.loading import of_packages, of_parts
from trainers.registry import OneOf, SomeOf, implementation

TEACHER = "teacher"
"""Name of the arm whose one trial trains the teacher; no arm of a file may have it."""

BASELINE = "baseline"
"""The arm that others are compared with, where one has this name."""

SHIPPED_TEACHERS = Path(__file__).parents[1] / "presets" / "teachers"
"""Teachers of presets that come with kdstudy, named as in any folder of teachers."""

Placement = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
REPLICATE = "replicate"
"""The one parameter of a replicated arm: r of the replicate whose seeds are the study's plus r."""

SCHEDULE = "schedule"
"""In a file's `compares`: the paths of SCHEDULE_PATHS together."""
SCHEDULE_PATHS = ("train/iterations", "train/batch")


@dataclass(frozen=True, kw_only=True)
class ArmConfig(ArmOutline):
    """One way to train, and what is searched in it.

    An arm without a space is replicated: it trains one setting with the seeds `seed`, `seed + 1`, ... of the study, one
    trial each and none stopped early, so that trials of equal seeds in different arms are paired.

    Attributes:
        task: weighting of the task loss.
        methods: distillation methods by name.
        fixed: values by path that this arm does not search but sets, e.g. `train/optimizer/lr: 0.1`.
        enqueue: settings to try right after the spaces' defaults, each a mapping from path to value.
        matched: an arm without methods may train as long as a whole trial of this other arm costs: its iterations are
            fixed from both prices when the study begins.
        search_of: the arm that this one searches again; filled in by `study.configuration.searches`.
    """

    task: Annotated[Any, OneOf("trainers.difficulty", "weighting")] = field(
        default_factory=lambda: implementation("trainers.difficulty", "uniform").Config()
    )
    methods: Annotated[Mapping[str, Any], SomeOf("trainers.methods")] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    enqueue: tuple[Mapping[str, Any], ...] = ()
    matched: str | None = None
    search_of: str | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The teacher of a study: a file that exists, or a network and how to train it.

    Attributes:
        file: a teacher's file; it wins over `model`.
        sha256: of that file, where it must be this one.
        model: network to train as a teacher when no `file` is named.
        train: how; required with `model`.
        fold_batch_norm: whether trials fold its batch normalisations into the convolutions before them.
        compile: whether trials run it through torch.compile.
        task: weighting of its task loss, which has no teacher.
        data: what the teacher's training images differ in from the study's: keys of `data`, such as `train_images`.
        stored: of a teacher that the study trains: what its file keeps the weights in. The teacher is what the file
            holds: float16 rounds the weights of the trained network, and halves the file.
        folder: where trained teachers are kept, by the content of what trained them, for other studies to reuse.
        shipped: whether a teacher that comes with kdstudy, trained by the same, is taken instead of training one.
        record: whether trials leave the teacher's outputs for others to read: `auto`, `off`, or a mapping.
    """

    file: str | None = field(default=None, metadata={"location": True})
    sha256: str | None = None
    model: Annotated[Any, OneOf("trainers.models", "architecture")] | None = None
    train: TrainConfig | None = None
    fold_batch_norm: bool = field(default=False, metadata=LATER)
    compile: bool = field(default=False, metadata=LATER)
    task: Annotated[Any, OneOf("trainers.difficulty", "weighting")] = field(
        default_factory=lambda: implementation("trainers.difficulty", "uniform").Config(), metadata=LATER
    )
    data: Mapping[str, Any] = field(default_factory=dict, metadata=LATER)
    stored: StoredPrecision = field(default="float32", metadata=LATER)
    folder: str = field(default="runs/teachers", metadata={"location": True})
    shipped: bool = field(default=True, metadata=NEUTRAL)
    record: Record = field(default_factory=RecordConfig, metadata=NEUTRAL)

    def run_as_asked(self, file: TeacherFile) -> TeacherFile:
        """A teacher's file, to be run as this says."""
        return replace(file, fold_batch_norm=self.fold_batch_norm, compile=self.compile)


def _checked_interval(value: Any) -> Any:
    try:
        Interval.read(value)
    except ValueError as error:
        raise PydanticCustomError("interval", "{law}", {"law": str(error)}) from None
    return value


IntervalText = Annotated[int | str | None, PlainValidator(_checked_interval, json_schema_input_type=int | str | None)]
"""An interval as `Interval.read` takes it."""
Engine = Literal["train", "inline"]


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how trials run; nothing here changes a number.

    Attributes:
        engine: "train" runs each trial as a Ray Train worker group; "inline" runs one-worker trials in the process of
            the trial itself, which starts at once; "auto" chooses for each trial: "inline" for those of one worker
            without a GPU on a cluster of the study's own, but the teacher's.
        concurrent: trials at a time at most; they are never more than the cluster has room for at the moment.
        cpus_per_worker: CPUs each worker reserves.
        gpus_per_worker: GPUs each worker reserves; a share of one for trials of one worker, else a whole number.
        accelerator_type: only nodes with this GPU take workers, by Ray's name of it: A100, H100, T4, ...
        placement: of a trial's workers on nodes: PACK and SPREAD where possible, STRICT_PACK on one node,
            STRICT_SPREAD each on its own.
        loader_workers: processes per worker that read and augment images.
        max_attempts: how often a trial may be started after machines were lost.
        max_failed: failed trials of one arm after which the study gives that arm up.
        checkpoint_every: interval of the checkpoints between evaluations: iterations, such as 500, or a time since the
            last one, such as "10 min"; None for checkpoints at evaluations alone.
        start_timeout_s: seconds after which a trial whose workers find no place asks for one anew.
        checkpoints: a folder that all nodes see under one path, or a URL that pyarrow.fs knows, such as
            s3://bucket/prefix, below which the study's trials keep their checkpoints; None for the study's own folder.
            Credentials come from the environment.
        decoded_images: whether the images are kept decoded for all trials of a node: `auto`, `off`, or a mapping.
        trackers: TensorBoard, CSV files, Weights & Biases and MLflow, which get what the tables get: a list such as
            `[tensorboard, {wandb: {project: mine}}]`, or a mapping.
    """

    engine: Literal["auto", "train", "inline"] = "auto"
    concurrent: Annotated[int, Ge(1)] | None = None
    cpus_per_worker: Annotated[float, Gt(0)] = 1
    gpus_per_worker: Annotated[float, Ge(0)] = 0
    accelerator_type: str | None = None
    placement: Placement = "PACK"
    loader_workers: Annotated[int, Ge(0)] = 0
    max_attempts: Annotated[int, Ge(1)] = 3
    max_failed: Annotated[int, Ge(1)] = 5
    checkpoint_every: IntervalText = "10 min"
    start_timeout_s: Annotated[float, Gt(0)] = 60
    checkpoints: str | None = field(default=None, metadata={"location": True})
    decoded_images: DecodedImages = field(default_factory=DecodedConfig)
    trackers: Trackers = field(default_factory=TrackersConfig, metadata=LATER)

    def engine_of(self, arm: str, workers: int, *, local: bool) -> Engine:
        """What runs a trial.

        Chosen freely, trials of one worker without a GPU run inline on this machine's own cluster, where Ray Train
        would take longer to start than many of them train. The teacher's is a Ray Train run everywhere: there is one,
        and it shows early whether Ray Train works.

        Args:
            arm: of the trial.
            workers: of the trial.
            local: whether the cluster is one that the study has started itself.
        """
        if self.engine != "auto":
            return self.engine
        return "inline" if local and workers == 1 and not self.gpus_per_worker and arm != TEACHER else "train"

    @property
    def worker_resources(self) -> dict[str, float]:
        """What one worker reserves, as Ray names it."""
        return {"CPU": self.cpus_per_worker, **({"GPU": self.gpus_per_worker} if self.gpus_per_worker else {})}

    @property
    def node_resources(self) -> dict[str, float]:
        """What a node must have for a worker: its share, and something of the accelerator that is asked for."""
        if self.accelerator_type is None:
            return self.worker_resources
        return {**self.worker_resources, f"accelerator_type:{self.accelerator_type}": 0.001}


@dataclass(frozen=True, kw_only=True)
class Replicated:
    """What an arm trains again.

    Attributes:
        study: whose setting it is, by name and by its folder then.
        arm: of that study.
        trial: the first trial there that had the setting.
        config_hash: of that trial.
        miou_percent: what the setting scored there, by that study's objective; the mean over its trials.
        search_of: the arm of that study that `arm` searches again, where it is a further search.
        chosen_by: the arms of that study that it was chosen for, as one of their best or as their defaults; several
            where they found the same one.
            Empty in studies that began before arms were chosen from one by one.
    """

    study: str
    folder: str = field(metadata={"location": True})
    arm: str
    trial: Annotated[int, Ge(0)]
    config_hash: str
    miou_percent: float
    search_of: str | None = None
    chosen_by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyConfig(StudyOutline):
    """One study, whole.

    Attributes:
        evaluate_on: the images that the search is judged by: the validation split, the test split, or the holdout. What
            a search has found by the holdout can be judged by the validation split, which it has not seen.
        holdout: share of the training images that no trial, and no teacher, is trained on.
        seed: of samplers and, through `data_seed` and `init_seed`, of every trial.
        objective: what Optuna maximises: the mIoU of the last evaluation, or of the best one (optimistic).
        compares: what its arms may fix or search though all trials of a study have it alike otherwise: paths of a
            trial, such as `train/iterations` or `augment`; every ranking says so.
        startup_trials: trials of an arm before its sampler learns from them: the spaces' defaults, then settings of
            what all arms search that are the same in all of them.
        pruning: early stopping.
        price: of an iteration: its counted operations, or its seconds on a worker when the study begins.
        searches: how often each arm is searched, with other sampler seeds; each further search is an arm of its own,
            called ARM-search2 and so on, which `study.configuration.searches` adds.
        groups: a regular expression over the names of images that captures which of them belong together and are not
            independent, such as the frames of one drive; None for the dataset's own groups.
        equivalence_points: two methods count as no different where their mIoU differs by no more than so many points.
        planned_seeds: how many seeds each arm of a replicated study is planned to have; filled in by
            `study.commands.searches.replicate`, and kept when more are added later.
        spaces: what the files that the arms name said when the study began; filled in by `with_spaces`.
        replicates: which trials of another study its arms repeat; filled in by `study.commands.searches.replicate`.
        plugins: the user's own files that add parts, by name. A file of a study lists their paths;
            `study.configuration.plugins` reads these, and `study.folder` keeps copies.
    """

    data: Annotated[Any, OneOf("trainers.data", "name")]
    augment: AugmentConfig
    student: Annotated[Any, OneOf("trainers.models", "architecture")]
    train: TrainConfig
    arms: Annotated[Mapping[Name, ArmConfig], MinLen(1)]
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    compares: tuple[str, ...] = field(default=(), metadata=LATER)
    evaluate_on: EvaluationSplit = "val"
    holdout: Annotated[float, Ge(0), Le(0.5)] = 0.0
    seed: Annotated[int, Ge(0)] = 0
    objective: Literal["last", "best"] = "last"
    startup_trials: Annotated[int, Ge(1)] = 5
    searches: Annotated[int, Ge(1)] = 1
    groups: str | None = None
    equivalence_points: Annotated[float, Gt(0)] = 1.0
    planned_seeds: Annotated[int, Ge(1)] | None = None
    pruning: PruningConfig = field(default_factory=PruningConfig)
    price: Literal["operations", "measured"] = "operations"
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    replicates: Mapping[Name, Replicated] = field(default_factory=dict)
    plugins: Mapping[str, Plugin] = field(default_factory=dict, metadata=LATER)

    def with_spaces(self) -> "StudyConfig":
        """The study with the content of every space it searches, so that a change of the files does not reach it.

        Raises:
            SpaceError: a file is none.
        """
        names = sorted({name for arm in self.arms.values() for name in arm.space})
        return replace(self, spaces={name: self.spaces.get(name) or read_entries(name) for name in names})

    def trial(self, arm: str, values: Mapping[str, Any], teacher: TeacherFile | None) -> TrialConfig:
        """The trial of an arm with these searched values by path, or of a replicate.

        Raises:
            ConfigError: where a value does not fit.
        """
        trained_by = self.teacher.run_as_asked(teacher) if teacher and self.needs_teacher(arm) else None
        trial = {**self.unsearched(arm), "teacher": plain(trained_by)}
        if self.arms[arm].replicated:
            seed = self.seed + values.get(REPLICATE, 0)
            trial, values = {**trial, "data_seed": seed, "init_seed": seed}, {}
        for path, value in {**self.arms[arm].fixed, **values}.items():
            trial = replaced(trial, path, value)
        return self._with_plugins(parse(TrialConfig, trial))

    def _with_plugins(self, trial: TrialConfig) -> TrialConfig:
        """A trial with those plugins that it, or its teacher's network, has a part of."""
        if not self.plugins:
            return trial
        used = of_parts(trial.data, trial.student, trial.task, trial.methods)
        if trial.teacher is not None:
            # which network a file holds is not known here, so every plugin that has one counts
            used |= of_packages(("trainers.models", "trainers.data")) if self.teacher.file else of_parts(self.teacher)
        return replace(trial, plugins={name: self.plugins[name] for name in sorted(used & self.plugins.keys())})

    def unsearched(self, arm: str) -> dict[str, Any]:
        """The trial of an arm as plain values, before any is fixed or searched, and without its teacher."""
        chosen = self.arms[arm]
        return {
            **self._shared(),
            "student": plain(self.student),
            "train": plain(self.train),
            "task": plain(chosen.task),
            "methods": plain(chosen.methods),
        }

    def teacher_trial(self) -> TrialConfig:
        """The trial that trains the teacher: its network and schedule, no distillation."""
        assert self.teacher.model is not None and self.teacher.train is not None
        trained = {
            **self._shared(),
            "data": {**plain(self.data), **self.teacher.data},
            "student": plain(self.teacher.model),
            "train": plain(self.teacher.train),
            "task": plain(self.teacher.task),
        }
        return self._with_plugins(parse(TrialConfig, trained))

    def _shared(self) -> dict[str, Any]:
        return {
            "data": plain(self.data),
            "augment": plain(self.augment),
            "data_seed": self.seed,
            "init_seed": self.seed,
            "evaluate_on": self.evaluate_on,
            "holdout": self.holdout,
        }

    def space(self, arm: str) -> Space:
        """What an arm searches; of a replicated one, which replicate a trial is."""
        chosen = self.arms[arm]
        if chosen.replicated:
            return Space({REPLICATE: Int(low=0, high=max(1, chosen.trials - 1), default=0)})
        return Space.load(*chosen.space, kept=self.spaces)

    def needs_teacher(self, arm: str) -> bool:
        """Whether an arm's trials have a teacher, as every distillation method asks for."""
        chosen = self.arms[arm]
        return bool(chosen.methods) or bool(chosen.task.needs_teacher)

    def max_failed(self, arm: str) -> int:
        """Failed trials after which no more of an arm are started: the teacher has one try."""
        return 1 if arm == TEACHER else self.execution.max_failed

    @property
    def objective_metric(self) -> str:
        """The metric of a report that Optuna maximises."""
        return {"last": "eval/miou_percent", "best": "best/miou_percent"}[self.objective]

    @property
    def objective_column(self) -> str:
        """The column of the trials table that holds it."""
        return f"{self.objective}_miou_percent"

    @property
    def checkpoints(self) -> str | None:
        """The folder or URL of all its trials' checkpoints; None where they lie in the study's folder."""
        place = self.execution.checkpoints
        return joined(place, self.name) if place else None

    @property
    def teacher_path(self) -> Path:
        """Where the teacher lies, or will lie: the file that the study names, or one named by what trains it.

        One in the study's folder of teachers comes before one that is shipped.
        """
        if self.teacher.file:
            return Path(self.teacher.file)
        rounded = "" if self.teacher.stored == "float32" else f"-{self.teacher.stored}"
        name = f"{content_hash(self.teacher_trial())[:16]}{rounded}.safetensors"
        own, shipped = Path(self.teacher.folder) / name, SHIPPED_TEACHERS / name
        return shipped if self.teacher.shipped and shipped.exists() and not own.exists() else own

    @property
    def decoded_plan(self) -> DecodedPlan | None:
        """Where its trials keep decoded images; None where they are not to."""
        chosen = self.execution.decoded_images
        folder = chosen.folder or str(Path(self.teacher.folder) / "decoded")
        return None if chosen.max_gib == 0 else DecodedPlan(folder=folder, max_gib=chosen.max_gib)

    @property
    def plain_arm(self) -> str | None:
        """The arm that others are compared with: BASELINE, else the first plain student; None where there is none."""
        plain = (name for name, arm in self.arms.items() if not arm.methods and arm.task.weighting == "uniform")
        return BASELINE if BASELINE in self.arms else next(plain, None)

    @property
    def any_needs_teacher(self) -> bool:
        return any(self.needs_teacher(arm) for arm in self.arms)

    def grace(self, arm: str) -> int:
        """Iterations before which no trial of an arm is stopped; of an arm of another length, the same share of it.

        No weighting that a trial of the study may have asks for later, and one evaluation follows. Searched options are
        varied one at a time, the others at their defaults.
        """
        if self.tuning_rules < EQUAL:
            return self._own_grace(arm)
        latest = max((self._own_grace(name) for name in self.searching), default=self.train.evaluate_every)
        return max(1, round(latest * self.iterations_of(arm) / self.train.iterations))

    def _own_grace(self, arm: str) -> int:
        """As late as the arm's own weightings ask for, in a trial of the study's length."""
        stops = (task.earliest_stop(self.train.iterations) for task in self._weightings(arm))
        latest = max((stop for stop in stops if stop is not None), default=0)
        return max(self.pruning.grace_iterations, latest + self.train.evaluate_every)

    def _weightings(self, arm: str) -> Iterator[Any]:
        """The Configs of an arm's weighting, at the defaults of what is searched and at each value of its options."""
        space, standard = self.space(arm), self.space(arm).defaults()
        yield self.trial(arm, standard, None).task
        for path in space.parameters:
            if path.startswith("task/"):
                yield from (self.trial(arm, {**standard, path: value}, None).task for value in space.values(path))

    @property
    def searching(self) -> tuple[str, ...]:
        """The arms that search."""
        return tuple(name for name, arm in self.arms.items() if not arm.replicated)

    def iterations_of(self, arm: str) -> int:
        """Iterations of an arm's whole trial, where it does not search them."""
        train = self.teacher.train if arm == TEACHER and self.teacher.train is not None else self.train
        fixed = {} if arm == TEACHER else self.arms[arm].fixed
        return int(fixed.get("train/iterations", train.iterations))

    def shared_parameters(self, arm: str) -> dict[str, Parameter]:
        """What an arm searches of that which trials of every arm have: all but its weighting and its methods."""
        parameters = {} if self.arms[arm].replicated else self.space(arm).parameters
        return {path: parameter for path, parameter in parameters.items() if not path.startswith(("task/", "methods/"))}

    def common_parameters(self) -> dict[str, Parameter]:
        """What all arms that search do search, of equal ranges and without conditions, by path."""
        spaces = [self.shared_parameters(arm) for arm in self.searching]
        first = spaces[0] if spaces else {}
        return {
            path: parameter
            for path, parameter in sorted(first.items())
            if not parameter.when and all(space.get(path) == parameter for space in spaces)
        }

    def unequal_parameters(self) -> dict[str, list[str]]:
        """Shared parameters that not all arms search in one range, each with the arms that search it, by path."""
        spaces = {arm: self.shared_parameters(arm) for arm in self.searching}
        common = self.common_parameters()
        paths = sorted({path for space in spaces.values() for path in space} - common.keys())
        return {path: [arm for arm, space in spaces.items() if path in space] for path in paths}

    def workers_of(self, arm: str) -> int:
        """Workers of an arm's largest trial."""
        if arm == TEACHER and self.teacher.train is not None:
            return self.teacher.train.workers
        path, space = "train/workers", self.space(arm)
        if path in space.parameters:
            return max(int(count) for count in space.values(path))
        return int(self.arms[arm].fixed.get(path, self.train.workers))

    @property
    def workers(self) -> int:
        """Workers of the largest trial."""
        taught = self.any_needs_teacher and self.teacher.file is None and self.teacher.train is not None
        return max(self.workers_of(arm) for arm in (*self.arms, *([TEACHER] if taught else [])))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Of its dataset; cached, because a file may name them."""
        return classes_of(self.data).names


def prunable(trial: TrialConfig) -> bool:
    """Whether a trial may be stopped early."""
    return trial.task.earliest_stop(trial.train.iterations) is not None

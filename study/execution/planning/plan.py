"""What a study will take on this machine: a few real steps of each arm, and what follows from them."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from study.configuration.config import SHIPPED_TEACHERS, TEACHER, StudyConfig
from study.configuration.prices import ArmPrices, MeasureSteps, price_arms, priced_trial
from study.configuration.recordings.plan import StudyRecordings, plan_recordings
from study.execution.planning.fit import BATCH, MemoryFit, engine_of
from study.execution.planning.forecast import (
    INLINE_START_S,
    TRAIN_START_S,
    ArmWork,
    arm_forecast,
    disk_bytes,
    wall_seconds,
)
from study.execution.planning.machine import Machine
from study.execution.planning.measurement import Measured, Measurement, one_rank
from study.execution.planning.processes import TrialFaultError
from study.execution.planning.works import halving, paid_iterations, replicates, searched_again, unstopped_share
from trainers import models
from trainers.checkpoints.base import KEEP
from trainers.config import TrialConfig
from trainers.data.classes import classes_of
from trainers.data.transforms import Normalisation
from trainers.teachers import teacher as teachers
from trainers.teachers.teacher import TeacherCard

RAY_START_S = 5.0
"""In which Ray starts on this machine's own cluster, and ends."""
HOUR_S = 3600.0
TeacherOrigin = Literal["found", "comes with kdstudy", "has to be trained"]


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """What one arm takes.

    Attributes:
        iteration_ms: of a step beside the others that run at a time, its images and a computing teacher among it.
        evaluation_s: of an evaluation of all images, with its checkpoint.
        peak_mib: of one rank: resident, with its loader's processes and with what it holds of recordings, or allocated
            on a GPU.
        checkpoint_bytes: of one.
        whole_trial_s: of a trial that is not stopped.
        trials: that are foreseen.
        iterations: of all of them.
        busy_s: seconds of all of them, one after another.
        replicate_s: seconds of one replicate.
    """

    iteration_ms: float
    evaluation_s: float
    peak_mib: float
    checkpoint_bytes: int
    whole_trial_s: float
    trials: int
    iterations: float
    busy_s: float
    replicate_s: float


@dataclass(frozen=True, kw_only=True)
class Spend:
    """Time of a study, or of its replicates."""

    wall_s: float
    core_hours: float
    gpu_hours: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study takes.

    Attributes:
        study: its name.
        machine: where it was measured.
        at_a_time: trials that run side by side.
        arms: by name, without those that failed; the teacher's under "teacher" where it has to be trained.
        faults: why an arm cannot be trained, by its name.
        refused: what will not fit the memory, a line each, with what would.
        teacher: where it comes from; None where no arm has one.
        recordings_bytes: of the teacher's outputs; 0 where none are recorded.
        live_share: share of the steps of trials with a teacher at which it computes.
        disk_bytes: of the checkpoints and recordings that stay.
        search: what the study takes, the training of its teacher among it.
        seeds: of the replicates; None where none were asked for.
        replicates: what they take.
        foreseen: whether the early stopping is one whose savings are foreseen; else trials count as whole ones.
    """

    study: str
    machine: str
    at_a_time: int
    arms: Mapping[str, ArmPlan]
    faults: Mapping[str, str]
    refused: tuple[str, ...]
    teacher: TeacherOrigin | None
    recordings_bytes: int
    live_share: float
    disk_bytes: float
    search: Spend
    seeds: int | None
    replicates: Spend | None
    foreseen: bool


def plan_study(config: StudyConfig, *, seeds: int | None = None, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Measure a few real steps of each arm, and say what the study takes.

    Args:
        config: the study, checked.
        seeds: of replicates of each arm's best setting; None for no replicates.
        say: shows a line to the user.

    Raises:
        ValueError: seeds below 1, or this machine cannot run the study's trials at all.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds must be at least 1, but got {seeds}; leave it out to plan no replicates")
    with tempfile.TemporaryDirectory(prefix="kdstudy-plan-") as folder:
        return _Planning(config, Path(folder), say).plan(seeds)


class _Planning:
    def __init__(self, config: StudyConfig, folder: Path, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say
        self._machine = Machine(config.execution)
        self._origin = teacher_origin(config)
        workers = max(map(config.workers_of, config.arms))
        self._slots = self._machine.slots(workers)
        self._measurement = Measurement(self._machine.places(self._slots * workers), say)
        self._teacher = stand_in(config, folder) if self._origin else None
        self._faults: dict[str, str] = {}
        self._step_s: dict[str, float] = {}
        self._priced_s = 0.0

    def plan(self, seeds: int | None) -> Plan:
        self._say("counting the operations of the arms' steps")
        prices = self._prices(self._names())
        trials = {name: self._trial(name) for name in self._names() if name not in self._faults}
        recordings = plan_recordings(self._config, Path("runs") / self._config.name)
        fit = MemoryFit(self._config, self._machine, self._measurement, recordings, self._say)
        ranks = {name: one_rank(trial) for name, trial in trials.items()}
        measured = {
            name: replace(found, memory=fit.with_buffers(name, trials[name], found.memory))
            for name, found in self._measurement.measure(ranks).items()
        }
        faults = self._measurement.faults
        self._faults |= {name: str(fault) for name, fault in faults.items() if fault.lacks is None}
        memories = {name: found.memory for name, found in measured.items()}
        refused = [*fit.lacking(trials, faults), *fit.crowded(trials, memories)]
        if self._config.price == "measured":
            self._say("the arms' steps alone, for their prices")
            prices |= self._prices(measured, self._steps)
        live = recordings.live_share(self._slots)
        works = {
            name: self._work(name, trials[name], found, prices.get(name), live)
            for name, found in measured.items()
            if name not in self._faults
        }
        startup_s = RAY_START_S + 2 * self._measurement.import_s + self._priced_s
        return self._planned(works, measured, recordings, live, startup_s, tuple(refused), seeds)

    def _names(self) -> list[str]:
        """Arms that are not searched again, and the teacher where it has to be trained."""
        first = [name for name, arm in self._config.arms.items() if arm.search_of is None]
        return [*first, *([TEACHER] if self._origin == "has to be trained" else [])]

    def _prices(self, names: Iterable[str], measure: MeasureSteps | None = None) -> dict[str, ArmPrices]:
        """Of each arm that can be trained, as a study makes them when it begins."""
        began = time.perf_counter()
        found = dict(self._priced(names, measure))
        self._priced_s += time.perf_counter() - began
        return found

    def _priced(self, names: Iterable[str], measure: MeasureSteps | None) -> Iterator[tuple[str, ArmPrices]]:
        """Each arm by itself, because one may not be trainable."""
        for name in names:
            if name == TEACHER:
                continue
            try:
                arms = {name: self._config.arms[name]}
                yield name, price_arms(replace(self._config, arms=arms), measure)[name]
            except TrialFaultError as fault:
                self._faults[name] = str(fault)
            except Exception as error:  # noqa: BLE001  # whatever an arm's own code raises is that arm's fault
                self._faults[name] = f"{type(error).__name__}: {error}".splitlines()[0]

    def _steps(self, trials: Mapping[str, TrialConfig], teacher: object | None) -> dict[str, float]:
        """Seconds of steps, as a study measures them when it begins; each is measured once."""
        new = {name: trial for name, trial in trials.items() if name not in self._step_s}
        self._step_s |= self._measurement.steps(new, teacher, self._config.plugins)
        return {name: self._step_s[name] for name in trials}

    def _trial(self, name: str) -> TrialConfig:
        """A trial at its spaces' defaults, with the largest batch that it may draw, and a teacher that is there."""
        trial = priced_trial(self._config, name, self._values(name))
        teacher = trial.teacher and replace(trial.teacher, path=str(self._teacher))
        return replace(trial, teacher=teacher, student=models.without_weights(trial.student))

    def _values(self, name: str) -> dict[str, Any]:
        """Searched values of the trial that is measured."""
        if name == TEACHER or self._config.arms[name].replicated:
            return {}
        space = self._config.space(name)
        values = space.defaults()
        return {**values, BATCH: max(space.values(BATCH))} if BATCH in values else values

    def _work(
        self, name: str, trial: TrialConfig, measured: Measured, prices: ArmPrices | None, live: float
    ) -> ArmWork:
        config, times, workers = self._config, measured.times, trial.train.workers
        usual = self._usual(name, prices)
        engine = engine_of(config, name, trial)
        searched = name != TEACHER and not config.arms[name].replicated
        return ArmWork(
            iterations=trial.train.iterations,
            evaluate_every=trial.train.evaluate_every,
            trials=1 if name == TEACHER else config.arms[name].trials,
            paid_iterations=paid_iterations(config, name, prices),
            halving=halving(config, name) if searched else None,
            unstopped=unstopped_share(config, name) if searched else 1.0,
            ranks=workers,
            step_s=usual * times.step_s,
            teacher_s=usual * times.teacher_s,
            live=live if trial.teacher else 1.0,
            evaluation_s=times.evaluation_s,
            start_s=times.start_s + (INLINE_START_S if engine == "inline" else TRAIN_START_S),
            checkpoint_bytes=measured.memory.checkpoint_bytes,
            waits=trial.teacher is not None,
            slots=self._machine.slots(workers),
        )

    def _usual(self, name: str, prices: ArmPrices | None) -> float:
        """Price of the mean iteration, searched values drawn evenly, over that of the measured trial."""
        if prices is None:
            return 1.0
        values = self._values(name)
        measured = prices.with_price(self._config, name, values).iteration[prices.key(values)]
        return mean(prices.iteration.values()) / measured

    def _planned(
        self,
        works: Mapping[str, ArmWork],
        measured: Mapping[str, Measured],
        recordings: StudyRecordings,
        live: float,
        startup_s: float,
        refused: tuple[str, ...],
        seeds: int | None,
    ) -> Plan:
        config = self._config
        all_works = {**works, **searched_again(config, works)}
        again = replicates(config, all_works, recordings, self._slots, seeds or 1)
        return Plan(
            study=config.name,
            machine=self._machine.name,
            at_a_time=self._slots,
            arms={name: _arm_plan(work, measured[name], again.get(name)) for name, work in works.items()},
            faults=self._faults,
            refused=refused,
            teacher=self._origin,
            recordings_bytes=recordings.bytes,
            live_share=live,
            disk_bytes=disk_bytes(all_works, KEEP) + recordings.bytes,
            search=self._spend(all_works, startup_s),
            seeds=seeds,
            replicates=self._spend(again, startup_s) if seeds else None,
            foreseen=not config.pruning.on or config.pruning.kind == "halving",
        )

    def _spend(self, works: Mapping[str, ArmWork], startup_s: float) -> Spend:
        execution = self._config.execution
        arms = [work for name, work in works.items() if name != TEACHER]
        busy_h = sum(arm_forecast(work).busy_s * work.ranks for work in works.values()) / HOUR_S
        return Spend(
            wall_s=startup_s + wall_seconds(arms, works.get(TEACHER)),
            core_hours=busy_h * execution.cpus_per_worker,
            gpu_hours=busy_h * execution.gpus_per_worker,
        )


def teacher_origin(config: StudyConfig) -> TeacherOrigin | None:
    """Where the teacher of a study comes from; None where no arm has one."""
    if not config.any_needs_teacher:
        return None
    path = config.teacher_path
    if not path.exists():
        return "has to be trained"
    return "comes with kdstudy" if path.parent == SHIPPED_TEACHERS else "found"


def stand_in(config: StudyConfig, folder: Path) -> Path:
    """The teacher's file, or one like it whose weights nobody has trained, in `folder`."""
    if config.teacher_path.exists():
        return config.teacher_path
    names, path = classes_of(config.data).names, folder / "teacher.safetensors"
    network = models.build(config.teacher.model, num_classes=len(names), initial_weights=False)
    card = TeacherCard(model=config.teacher.model, class_names=names, normalisation=Normalisation())
    teachers.save(network, card, path)
    return path


def _arm_plan(work: ArmWork, measured: Measured, again: ArmWork | None) -> ArmPlan:
    found, memory = arm_forecast(work), measured.memory
    return ArmPlan(
        iteration_ms=1000 * work.step_s,
        evaluation_s=work.evaluation_s,
        peak_mib=memory.peak_mib if memory.reserved_mib else memory.host_mib,
        checkpoint_bytes=memory.checkpoint_bytes,
        whole_trial_s=work.whole_trial_s,
        trials=found.trials,
        iterations=found.iterations,
        busy_s=found.busy_s,
        replicate_s=(again or work).whole_trial_s,
    )

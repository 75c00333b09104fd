"""The ledger: one Optuna study per arm in one storage, the single source of truth about trials and their ends.

Ray executes and may die; the ledger is opened again and nothing is lost: a trial left RUNNING by a dead driver is
handed out again under its own number, so that it finds its own checkpoint. A failed trial that is run again is a new
trial with the same values, and the failed one stays what it was. Rungs of early stopping live in the ledger too. Only
the process that holds the study's lock writes; others open it to read. This module knows no Ray.
"""

import hashlib
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Space
from study.configuration.config import REPLICATE, TEACHER, StudyConfig
from study.configuration.identity import record, refuse_another
from study.configuration.outline import StudyOutline
from study.ledger.journal import BEGAN, JOURNAL, RUN, Backend, mend
from study.ledger.rungs import Halving

optuna.logging.set_verbosity(optuna.logging.WARNING)

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
RETRY_OF = "retry_of"
"""User attribute of a trial that repeats a failed one: the number of that."""
FRUITLESS = "fruitless"
"""User attribute of a trial: its starts since its last evaluation that were cut short, and that evaluation."""
LOST_DRIVERS = 10
"""Drivers in a row that may die over a trial without a new evaluation, before it is taken for what kills them."""

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A trial that is to be run: its number, which attempt this is, and its searched values by path.

    Where it repeats a failed trial, `retry_of` is the number of that.
    """

    arm: str
    number: int
    attempt: int
    values: Values
    retry_of: int | None = None


class _Standing(NamedTuple):
    """Trials by state, those that wait to be run again, and how many failed for good."""

    counts: Counter[TrialState]
    retries: list[FrozenTrial]
    failed: int

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> "_Standing":
        waiting = (trial for trial in trials if trial.state == TrialState.WAITING)
        retries = [trial for trial in waiting if RETRY_OF in trial.user_attrs]
        return cls(Counter(trial.state for trial in trials), retries, len(failed(trials)))


def open_storage(config: StudyOutline, folder: Path) -> BaseStorage:
    """The storage of a study: its journal file, or the database that the configuration names."""
    if config.storage == "journal":
        return JournalStorage(Backend(folder / JOURNAL))
    return optuna.storages.RDBStorage(config.storage)


class ArmLedger:
    """The trials of one arm.

    Args:
        study: the arm's Optuna study.
        space: what is searched; None for the teacher's arm.
        budget: trials that shall end COMPLETE or PRUNED.
    """

    def __init__(
        self,
        arm: str,
        study: optuna.Study,
        *,
        space: Space | None,
        budget: int,
        config: StudyConfig,
    ) -> None:
        self.arm, self.study, self.space, self.budget = arm, study, space, budget
        self.max_failed = config.max_failed(arm)
        self._config = config
        self._replicated = arm != TEACHER and config.arms[arm].replicated
        self._live: dict[int, optuna.Trial] = {}
        self._stands: _Standing | None = None
        self._adopted_at: dict[int, int | None] = {}
        self._halving = (
            None if arm == TEACHER or self._replicated else Halving(config.grace(arm), config.pruning.reduction_factor)
        )
        self.orphans = self._running()

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _standing(self) -> _Standing:
        """How the trials stand; counted anew only after one began or ended, because it is asked at every report."""
        if self._stands is None:
            self._stands = _Standing.of(self.study.get_trials(deepcopy=False))
        return self._stands

    def count(self, *states: TrialState) -> int:
        """Trials in any of these states."""
        counts = self._standing().counts
        return sum(counts[state] for state in states)

    @property
    def given_up(self) -> bool:
        """Whether so many trials failed that no more are started; one that is run again does not count."""
        return self._standing().failed >= self.max_failed

    def _retries(self) -> list[FrozenTrial]:
        return self._standing().retries

    def retry_failed(self) -> int:
        """Have every failed trial run again, also beyond the budget; says how many there are."""
        again = failed(self.study.get_trials(deepcopy=False))
        if self._replicated:
            missing = self._missing()
            last = {trial.params[REPLICATE]: trial for trial in again}
            again = [trial for number, trial in last.items() if number in missing]
        for trial in again:
            self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        self._stands = None
        return len(again)

    @property
    def exhausted(self) -> bool:
        """Whether no trial is left to start."""
        if self.orphans or self._retries():
            return False
        started = self.count(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return started >= self.budget or self.given_up

    @property
    def finished(self) -> bool:
        """Whether the budget is used and nothing runs any more."""
        used = self.count(TrialState.COMPLETE, TrialState.PRUNED) >= self.budget
        return used and not self.count(TrialState.RUNNING) and not self._retries()

    @property
    def started_share(self) -> float:
        """Share of the budget that has been started; arms are served in this order."""
        return self.count(*ENDED, TrialState.RUNNING) / self.budget

    def ask(self) -> Asked | None:
        """The next trial to run: one that a dead driver left, one to repeat, else a new one; None if there is none."""
        while self.orphans:
            asked = self._adopt(self.orphans.pop(0))
            if asked:
                return asked
        if retries := self._retries():
            return self._repeat(retries[0])
        if self.exhausted:
            return None
        if self._replicated and (missing := self._missing()):
            self.study.enqueue_trial({REPLICATE: missing[0]})
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self._sampler(number)
        return self._start(self.study.ask(), 1)

    def _missing(self) -> list[int]:
        """The replicates that neither ended well nor run nor wait to be run, in order."""
        trials = self.study.get_trials(deepcopy=False)
        there = {_replicate(trial) for trial in trials if trial.state != TrialState.FAIL}
        return [number for number in range(self.budget) if number not in there]

    def _adopt(self, orphan: FrozenTrial) -> Asked | None:
        # one that died before it was started has no run noted
        attempt = json.loads(orphan.user_attrs[RUN])["attempt"] + 1 if RUN in orphan.user_attrs else 1
        self.study.sampler = self._sampler(orphan.number)
        trial = optuna.Trial(self.study, orphan._trial_id)
        if attempt > 1 and self._count_fruitless(trial, orphan) >= LOST_DRIVERS:
            error = f"the study's driver died {LOST_DRIVERS} times in a row without a new evaluation of this trial"
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState.FAIL)
            self._stands = None
            return None
        if RUN not in orphan.user_attrs:
            self._draw_again(trial, orphan)
        self._adopted_at[orphan.number] = orphan.last_step
        return self._start(trial, attempt)

    def _draw_again(self, trial: optuna.Trial, orphan: FrozenTrial) -> None:
        """Bring the sampler to where it stood when the driver died between two values: the others are drawn now."""
        for name, distribution in orphan.distributions.items():
            if name in orphan.system_attrs.get("fixed_params", {}) or distribution.single():
                continue  # as Optuna does, in this order: its relative ones are drawn where they are first asked for
            if name not in trial.relative_params:
                self.study.sampler.sample_independent(self.study, orphan, name, distribution)

    def _count_fruitless(self, trial: optuna.Trial, orphan: FrozenTrial) -> int:
        """Starts of a trial since its last evaluation, or since it was last stopped on purpose."""
        before = orphan.user_attrs.get(FRUITLESS, {"starts": 0, "step": None})
        starts = before["starts"] + 1 if before["step"] == orphan.last_step else 1
        trial.set_user_attr(FRUITLESS, {"starts": starts, "step": orphan.last_step})
        return starts

    def leave(self) -> None:
        """Leave what runs to the next driver, without this start being counted against it."""
        for number, trial in self._live.items():
            trial.set_user_attr(FRUITLESS, {"starts": -1, "step": self._frozen(number).last_step})

    def _repeat(self, retry: FrozenTrial) -> Asked:
        self.study.sampler = self._sampler(retry.number)
        self.study._storage.set_trial_state_values(retry._trial_id, state=TrialState.RUNNING)
        return self._start(optuna.Trial(self.study, retry._trial_id), 1)

    def _start(self, trial: optuna.Trial, attempt: int) -> Asked:
        self._stands = None
        values = self.space.suggest(trial) if self.space else {}
        self._live[trial.number] = trial
        repeated = trial.user_attrs.get(RETRY_OF)
        return Asked(arm=self.arm, number=trial.number, attempt=attempt, values=values, retry_of=repeated)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler seeded by the number of the trial, so that a restart goes on as if there had been none.

        Replicates are not sampled: each is enqueued before it is asked for.
        """
        key = f"{self._config.seed}/{self.arm}/{number}"
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "little")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,  # conditional parameters are modelled, not drawn independently
                constant_liar=True,
                n_startup_trials=self._config.startup_trials,
            )

    def report(self, number: int, iteration: int, value: float) -> None:
        """Record an evaluation; one that is already recorded stays as it is."""
        trial = self._live[number]
        if iteration not in self._frozen(number).intermediate_values:
            trial.report(value, iteration)

    def last_step(self, number: int) -> int:
        """The last iteration at which a live trial was evaluated; 0 before the first."""
        return self._frozen(number).last_step or 0

    def should_prune(self, number: int) -> bool:
        """Whether successive halving stops the trial at its last evaluation."""
        if self._halving is None:
            return False
        trial = self._frozen(number)
        return self._halving.stops(self.study, trial, anew=self._adopted_at.get(number) == trial.last_step)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study._storage.get_trial(self._live[number]._trial_id)

    def tell(self, number: int, state: TrialState, value: float | None, row: Mapping[str, Any]) -> None:
        """End a trial; `row` is what the trials table says of it and is kept here first."""
        trial = self._live.pop(number)
        trial.set_user_attr("row", json.dumps(row))
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
        self._stands = None

    def note(self, number: int, run: Mapping[str, Any]) -> None:
        """Keep what a live trial runs with it, for a driver that finds it without this one."""
        self._live[number].set_user_attr(RUN, json.dumps(run))

    def complete(self) -> list[FrozenTrial]:
        """The trials that used their whole budget."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def ended(self) -> list[FrozenTrial]:
        """All trials that are no longer waiting or running."""
        return self.study.get_trials(deepcopy=False, states=ENDED)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Of all searched parameters, by path."""
        return self.space.distributions() if self.space else {}


def _replicate(trial: FrozenTrial) -> int | None:
    """Which replicate a trial is, also of one that is enqueued and not begun."""
    enqueued: Mapping[str, int] = trial.system_attrs.get("fixed_params", {})
    return trial.params.get(REPLICATE, enqueued.get(REPLICATE))


def failed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The failed ones among an arm's trials that were not run again; of a replicate, all go with its last one."""
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    last = {_replicate(trial): trial.number for trial in trials if trial.number in repeated}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and trial.number not in repeated
        and (REPLICATE not in trial.params or trial.number > last.get(trial.params[REPLICATE], -1))
    ]


def open_arms(config: StudyConfig, folder: Path, *, with_teacher: bool) -> dict[str, ArmLedger]:
    """Open, or create, the ledger of every arm; defaults of new arms are enqueued as their first trials.

    Args:
        with_teacher: whether the study trains its teacher itself, as an arm with one trial.

    Raises:
        ConfigError: the ledger's trials belong to a study whose numbers would not compare with this one's.
    """
    storage = open_storage(config, folder)
    arms = {}
    if with_teacher:
        arms[TEACHER] = ArmLedger(
            TEACHER,
            _open_study(config, TEACHER, storage),
            space=None,
            budget=1,
            config=config,
        )
    for name, arm in config.arms.items():
        space = config.space(name)
        study = _open_study(config, name, storage)
        first = () if arm.replicated else (space.defaults(), *arm.enqueue)
        for values in first[len(study.get_trials(deepcopy=False)) :]:
            study.enqueue_trial(dict(values))
        arms[name] = ArmLedger(
            name,
            study,
            space=space,
            budget=arm.trials,
            config=config,
        )
    return arms


def _open_study(config: StudyConfig, arm: str, storage: BaseStorage) -> optuna.Study:
    study = optuna.create_study(
        storage=storage,
        study_name=f"{config.name}/{arm}",
        direction="maximize",
        load_if_exists=True,
    )
    if BEGAN in study.user_attrs:
        refuse_another(study.user_attrs[BEGAN]["config"], config, arm)
    else:
        study.set_user_attr(BEGAN, {"arm": arm, "config": record(config, arm)})
    return study


def study_names(config: StudyOutline) -> dict[str, str]:
    """The name of every arm's Optuna study, the teacher's among them, in the order in which they are created."""
    return {arm: f"{config.name}/{arm}" for arm in (TEACHER, *config.arms)}


def states(config: StudyOutline, folder: Path) -> dict[str, list[FrozenTrial]]:
    """All trials of every arm, the teacher's among them, for a reader beside the driver."""
    names = study_names(config)
    with tempfile.TemporaryDirectory() as place:
        if config.storage == "journal" and (folder / JOURNAL).exists():
            content = (folder / JOURNAL).read_bytes()
            (Path(place) / JOURNAL).write_bytes(mend(content, list(names.values())).content)
            folder = Path(place)
        storage = open_storage(config, folder)
        found = {s.study_name: s._study_id for s in storage.get_all_studies()}
        return {
            arm: storage.get_all_trials(found[name], deepcopy=False) if name in found else []
            for arm, name in names.items()
        }


def status(config: StudyOutline, folder: Path) -> dict[str, dict[str, int]]:
    """Trials by arm and state, beside the `budget` of each arm; of the teacher only where the study trains it."""
    counts = {}
    for arm, trials in states(config, folder).items():
        if arm == TEACHER and not trials:
            continue
        found = Counter(trial.state.name for trial in trials)
        budget = 1 if arm == TEACHER else config.arms[arm].trials
        counts[arm] = {"budget": budget, **{state.name: found[state.name] for state in TrialState}}
    return counts

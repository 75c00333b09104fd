"""The ledger: one Optuna study per arm in one storage, the single source of truth about trials and their ends.

Ray executes and may die; the ledger is opened again and nothing is lost: a trial left RUNNING by a dead driver is
handed out again under its own number, so that it finds its own checkpoint. Rungs of early stopping live in the ledger
too. Only the process that holds the study's lock writes; others open it to read. This module knows no Ray.
"""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Space
from study.config import TEACHER, StudyConfig

optuna.logging.set_verbosity(optuna.logging.WARNING)

JOURNAL = "study.journal"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A trial that is to be run: its number, which attempt this is, and its searched values by path."""

    arm: str
    number: int
    attempt: int
    values: Values


def open_storage(config: StudyConfig, folder: Path) -> BaseStorage:
    """The storage of a study: its journal file, or the database that the configuration names."""
    if config.storage == "journal":
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.storages.RDBStorage(config.storage)


def repair_journal(folder: Path) -> str | None:
    """Cut a half-written last line off the journal, keeping it beside; says so, or None if all was well.

    A driver killed while it wrote leaves one; the next line would be glued to it, and the journal be unreadable.
    """
    journal = folder / JOURNAL
    if not journal.exists():
        return None
    content = journal.read_bytes()
    good = content.rfind(b"\n") + 1
    if good == len(content):
        return None
    (folder / f"{JOURNAL}.torn").write_bytes(content[good:])
    with journal.open("r+b") as file:
        file.truncate(good)
    return f"{journal} ended in half a line ({len(content) - good} bytes); it was moved to {JOURNAL}.torn"


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
        self.max_failed, self.max_attempts = config.max_failed(arm), config.execution.max_attempts
        self._config = config
        self._live: dict[int, optuna.Trial] = {}
        self._pruner = _pruner(config, arm)
        self.orphans = self._running()

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def count(self, *states: TrialState) -> int:
        """Trials in any of these states."""
        return len(self.study.get_trials(deepcopy=False, states=states))

    @property
    def given_up(self) -> bool:
        """Whether so many trials failed that no more are started."""
        return self.count(TrialState.FAIL) >= self.max_failed

    @property
    def exhausted(self) -> bool:
        """Whether no trial is left to start."""
        if self.orphans:
            return False
        started = self.count(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return started >= self.budget or self.given_up

    @property
    def finished(self) -> bool:
        """Whether the budget is used and nothing runs any more."""
        return self.count(TrialState.COMPLETE, TrialState.PRUNED) >= self.budget

    @property
    def started_share(self) -> float:
        """Share of the budget that has been started; arms are served in this order."""
        return self.count(*ENDED, TrialState.RUNNING) / self.budget

    def ask(self) -> Asked | None:
        """The next trial to run: one that a dead driver left, else a new one; None if there is none."""
        while self.orphans:
            asked = self._adopt(self.orphans.pop(0))
            if asked:
                return asked
        if self.exhausted:
            return None
        self.study.sampler = self._sampler()
        trial = self.study.ask()
        values = self.space.suggest(trial) if self.space else {}
        return self._start(trial, 1, values)

    def _adopt(self, orphan: FrozenTrial) -> Asked | None:
        # one that died before it was started has no run noted
        attempt = json.loads(orphan.user_attrs["run"])["attempt"] + 1 if "run" in orphan.user_attrs else 1
        trial = optuna.Trial(self.study, orphan._trial_id)
        if attempt > self.max_attempts:
            error = f"started {self.max_attempts} times (execution.max_attempts) without coming to an end"
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        # one that died before all its values were drawn draws the missing ones now
        values = self.space.suggest(trial) if self.space else {}
        return self._start(trial, attempt, values)

    def _start(self, trial: optuna.Trial, attempt: int, values: Values) -> Asked:
        self._live[trial.number] = trial
        return Asked(arm=self.arm, number=trial.number, attempt=attempt, values=values)

    def _sampler(self) -> optuna.samplers.BaseSampler:
        """A sampler seeded by how many trials there are, so that a restart goes on as if there had been none."""
        key = f"{self._config.seed}/{self.arm}/{len(self.study.get_trials(deepcopy=False))}"
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

    def should_prune(self, number: int) -> bool:
        """Whether successive halving stops the trial at its last evaluation."""
        return self._pruner.prune(self.study, self._frozen(number))

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study._storage.get_trial(self._live[number]._trial_id)

    def tell(self, number: int, state: TrialState, value: float | None, row: Mapping[str, Any]) -> None:
        """End a trial; `row` is what the trials table says of it and is kept here first."""
        trial = self._live.pop(number)
        trial.set_user_attr("row", json.dumps(row))
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)

    def note(self, number: int, run: Mapping[str, Any]) -> None:
        """Keep what a live trial runs with it, for a driver that finds it without this one."""
        self._live[number].set_user_attr("run", json.dumps(run))

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


def _pruner(config: StudyConfig, arm: str) -> BasePruner:
    if arm == TEACHER or config.pruning.reduction_factor == 0:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=config.grace(arm), reduction_factor=config.pruning.reduction_factor)


def open_arms(config: StudyConfig, folder: Path, *, with_teacher: bool) -> dict[str, ArmLedger]:
    """Open, or create, the ledger of every arm; defaults of new arms are enqueued as their first trials.

    Args:
        with_teacher: whether the study trains its teacher itself, as an arm with one trial.
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
        first = [space.defaults(), *arm.enqueue]
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
    return optuna.create_study(
        storage=storage,
        study_name=f"{config.name}/{arm}",
        direction="maximize",
        load_if_exists=True,
    )


def states(config: StudyConfig, folder: Path) -> dict[str, list[FrozenTrial]]:
    """All trials of every arm, the teacher's among them, for a reader beside the driver."""
    storage = open_storage(config, folder)
    found = {s.study_name: s._study_id for s in storage.get_all_studies()}
    names = {arm: f"{config.name}/{arm}" for arm in (TEACHER, *config.arms)}
    return {
        arm: storage.get_all_trials(found[name], deepcopy=False) if name in found else [] for arm, name in names.items()
    }


def status(config: StudyConfig, folder: Path) -> dict[str, dict[str, int]]:
    """Trials by arm and state, beside the `budget` of each arm; of the teacher only where the study trains it."""
    counts = {}
    for arm, trials in states(config, folder).items():
        if arm == TEACHER and not trials:
            continue
        found = Counter(trial.state.name for trial in trials)
        budget = 1 if arm == TEACHER else config.arms[arm].trials
        counts[arm] = {"budget": budget, **{state.name: found[state.name] for state in TrialState}}
    return counts

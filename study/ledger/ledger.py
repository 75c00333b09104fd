"""The ledger: one Optuna study per arm in one storage, the single source of truth about trials and their ends.

Ray executes and may die; the ledger is opened again and nothing is lost: a trial left RUNNING by a dead driver is
handed out again under its own number, so that it finds its own checkpoint. A failed trial that is run again is a new
trial with the same values, and the failed one stays what it was. Rungs of early stopping live in the ledger too. Only
the process that holds the study's lock writes; others open it to read. This module knows no Ray.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Space
from study.configuration.config import REPLICATE, TEACHER, StudyConfig
from study.configuration.identity import record, refuse_another
from study.configuration.objectives.students import MeasureLatency, measure_arms
from study.configuration.outline import StudyOutline
from study.configuration.prices import ArmPrices, price_arms
from study.configuration.tuning import EQUAL
from study.ledger import optuna_internals
from study.ledger.journal import BEGAN, JOURNAL, RUN, Backend, repair
from study.ledger.objectives import Valuation, directions, keep_students, read_students
from study.ledger.rungs import ROW, STOPPED_BY, WOULD_STOP, EarlyStopping, StopReason, why_stopped
from study.ledger.samplers import grid_size, sampler, startup_settings
from study.ledger.spending import Spending, Spent, keep_prices, read_prices
from study.ledger.trial_run import Suggestion, TrialRun
from trainers.addresses import redacted
from trainers.config import ConfigError

optuna.logging.set_verbosity(optuna.logging.WARNING)

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
RETRY_OF = "retry_of"
"""User attribute of a trial that repeats a failed one: the number of that."""
FUTILE_STARTS = "fruitless"
"""User attribute of a trial: its starts in a row that came no further, and the iteration that it had come to."""
FAULT = "fault"
"""User attribute of a failed trial: the exception and the place in the code where any trial would fail again."""
ALIKE = 2
"""Trials that failed at the same place, after which an arm is given up of which no trial has ended well."""
LOST_DRIVERS = 10
"""Drivers in a row that may die over a trial that comes no further, before it is taken for what kills them."""


class _Summary(NamedTuple):
    """Of an arm's trials: how many are in each state, which wait to be run again, why no more are started.

    And what those have cost that ended well.
    """

    counts: Counter[TrialState]
    retries: list[FrozenTrial]
    given_up: str | None
    spent: float

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], spending: Spending, max_failed: int) -> "_Summary":
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        retries = [trial for trial in waiting if RETRY_OF in trial.user_attrs]
        counts = Counter(trial.state for trial in trials)
        return cls(counts, retries, given_up_because(trials, max_failed), spending.spent(trials))


def open_storage(config: StudyOutline, folder: Path) -> BaseStorage:
    """The storage of a study: its journal file, or the database that the configuration names.

    Raises:
        ValueError: the database does not answer, or its driver is not installed.
    """
    if config.storage == "journal":
        return JournalStorage(Backend(folder / JOURNAL))
    from sqlalchemy.exc import SQLAlchemyError  # a journal needs no database

    try:
        return optuna.storages.RDBStorage(config.storage)
    except (ImportError, SQLAlchemyError) as error:
        raise ValueError(
            f"storage must be a database that can be opened, but {redacted(config.storage)} cannot: "
            f"{str(error).splitlines()[0]}; start it, install its driver, or correct the URL"
        ) from None


class ArmLedger:
    """The trials of one arm.

    Args:
        arm: its name.
        study: the arm's Optuna study.
        space: what is searched; None for the teacher's arm.
        budget: trials that shall end COMPLETE or PRUNED.
        config: the study.
        first: what the arm tries before its sampler draws; some values of each setting, or all.

    Attributes:
        orphans: trials that a dead driver left RUNNING and that are not handed out again yet.
    """

    def __init__(
        self,
        arm: str,
        study: optuna.Study,
        *,
        space: Space | None,
        budget: int,
        config: StudyConfig,
        first: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.arm, self.study, self.space, self.budget = arm, study, space, budget
        self._first = first
        self.max_failed = config.max_failed(arm)
        self._config = config
        self._replicated = arm != TEACHER and config.arms[arm].replicated
        self._live: dict[int, optuna.Trial] = {}  # those that this driver runs, by number
        self._cached_summary: _Summary | None = None
        self.spending = Spending(config, arm, study)
        self.valuation = Valuation(config, arm, study)
        self._grace = None if arm == TEACHER or self._replicated else config.grace(arm)
        self._stopping = (
            None
            if self._grace is None
            else EarlyStopping(study, config.pruning, grace=self._grace, iterations=config.iterations_of(arm))
        )
        if self._stopping is not None:
            self._stopping.look_at(self.ended(), _is_prunable)
        self.orphans = self._running()

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _summary(self) -> _Summary:
        """The counts of the trials; made anew only after one began or ended, because every report needs them."""
        if self._cached_summary is None:
            trials = self.study.get_trials(deepcopy=False)
            self._cached_summary = _Summary.of(trials, self.spending, self.max_failed)
        return self._cached_summary

    def count(self, *states: TrialState) -> int:
        """Trials in any of these states."""
        counts = self._summary().counts
        return sum(counts[state] for state in states)

    @property
    def given_up(self) -> str | None:
        """Why no more trials are started, as `given_up_because` says; None where they are."""
        return self._summary().given_up

    def _retries(self) -> list[FrozenTrial]:
        return self._summary().retries

    def retry_failed(self) -> int:
        """Have failed trials run again, the first ones first, as many as the budget lacks; says how many there are."""
        again = failed(self.study.get_trials(deepcopy=False))
        if self._replicated:  # each replicate once, however often it failed, and none that has ended well since
            missing = self._missing()
            last = {trial.params[REPLICATE]: trial for trial in again}
            again = [trial for number, trial in last.items() if number in missing]
        again = [] if self._filled else again[: max(0, self.budget - self._started - len(self._retries()))]
        for trial in again:
            self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        self._cached_summary = None
        return len(again)

    @property
    def _started(self) -> int:
        """Trials that count towards the budget, or will unless they fail."""
        return self.count(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

    @property
    def _filled(self) -> bool:
        """Whether what has ended well and what runs use the budget, in trials or in cost."""
        return self._started >= self.budget or self.spending.uses_up(self._committed())

    @property
    def exhausted(self) -> bool:
        """Whether no trial is left to start, unless one that runs fails."""
        if self.orphans:
            return False
        return self._filled or (self.given_up is not None and not self._retries())

    @property
    def finished(self) -> bool:
        """Whether the budget is used and nothing runs any more."""
        return self._filled and not self.count(TrialState.RUNNING)

    @property
    def started_share(self) -> float:
        """Share of the budget that has been started; arms are served in this order."""
        if self.spending.budget is None:
            return self.count(*ENDED, TrialState.RUNNING) / self.budget
        running = (self.spending.cost(trial, self.spending.whole(trial)) or 0.0 for trial in self._running())
        return (self.spent + sum(running)) / self.spending.budget

    @property
    def used_share(self) -> float:
        """Share of the budget that trials which ended have used."""
        trials = self.count(TrialState.COMPLETE, TrialState.PRUNED) / self.budget
        costs = self.spent / self.spending.budget if self.spending.budget else 0.0
        return min(1.0, max(trials, costs))

    @property
    def weight(self) -> float:
        """What the budget comes to beside those of other arms: in whole trials, whatever limits it."""
        budget, prices = self.spending.budget, self.spending.prices
        return self.budget if budget is None or prices is None else budget / prices.whole_trial

    @property
    def spent(self) -> float:
        """What the trials that ended well have cost, in the unit of the arm's prices; 0 where it has none."""
        return self._summary().spent

    def _committed(self, without: int | None = None) -> float:
        """What is spent, and what running trials, but one, will spend before they can be stopped."""
        if self.spending.budget is None:
            return 0.0
        running = (trial for trial in self._running() if trial.number != without)
        return self.spent + sum(map(self.spending.to_next_evaluation, running))

    def costs(self, number: int, iterations: int) -> dict[str, float | None]:
        """What a live trial has cost at an iteration: `cost`, and `cost_trials` in whole plain trials."""
        cost = self.spending.cost(self._frozen(number), iterations)
        prices = self.spending.prices
        return {"cost": cost, "cost_trials": None if cost is None or prices is None else cost / prices.whole_trial}

    def ask(self) -> Suggestion | None:
        """The next trial to run: one that a dead driver left, one to repeat, else a new one; None if there is none."""
        while self.orphans:
            if suggestion := self._adopt(self.orphans.pop(0)):
                return suggestion
        if self.exhausted:
            return None
        if retries := self._retries():
            return self._repeat(retries[0])
        if self._replicated and (missing := self._missing()):
            self.study.enqueue_trial({REPLICATE: missing[0]})
        self._enqueue_first()
        # `study.ask` takes the first trial that waits, or makes a new one; the sampler needs its number before
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self._sampler(number)
        return self._start(self.study.ask(), 1)

    def _enqueue_first(self) -> None:
        """Let the next of the settings that the arm tries first be asked for, where there is one left.

        One at a time, so that none waits in the ledger for ever where the budget ends before.
        """
        trials = self.study.get_trials(deepcopy=False)
        begun = sum(RETRY_OF not in trial.user_attrs for trial in trials)
        if begun < len(self._first) and not any(trial.state == TrialState.WAITING for trial in trials):
            self.study.enqueue_trial(dict(self._first[begun]))

    def _missing(self) -> list[int]:
        """The replicates that neither ended well nor run nor wait to be run, in order."""
        trials = self.study.get_trials(deepcopy=False)
        there = {_replicate(trial) for trial in trials if trial.state != TrialState.FAIL}
        return [number for number in range(self.budget) if number not in there]

    def _adopt(self, orphan: FrozenTrial) -> Suggestion | None:
        # a driver may have died before it noted the run
        attempt = run.attempt + 1 if (run := noted_run(orphan)) else 1
        self.study.sampler = self._sampler(orphan.number)
        trial = optuna_internals.reopen(self.study, orphan)
        if attempt > 1 and (error := given_up_error(self._count_futile_starts(trial, orphan))):
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState.FAIL)
            self._cached_summary = None
            return None
        if run is None:
            self._draw_again(trial, orphan)
        if self._stopping is not None and _is_prunable(orphan):
            self._stopping.adopt(orphan)
        return self._start(trial, attempt)

    def _draw_again(self, trial: optuna.Trial, orphan: FrozenTrial) -> None:
        """Bring the sampler to where it stood when the driver died between two values: the others are drawn now.

        A new driver seeds the sampler anew by the trial's number. Values that the storage has are taken from there and
        draw no random number; without this the next value would get the number that the first one got before.

        For example, a trial draws lr, then temperature, each independently, from the random numbers 0.3 and 0.8. The
        driver dies after lr is stored. Its successor is asked for both again: lr comes from the storage, and
        temperature would get 0.3. So 0.3 is drawn here, for lr, and thrown away; temperature gets 0.8, as it would
        have. A value that was enqueued, and one that has no choice, draws nothing in either driver. Values that TPE
        models jointly (`relative_params`) are all drawn at once where the first of them is asked for, stored or not.
        """
        enqueued = optuna_internals.enqueued_values(orphan)
        for name, distribution in orphan.distributions.items():
            # the order of these tests is Optuna's own, in `Trial._suggest`
            if name not in enqueued and not distribution.single() and name not in trial.relative_params:
                self.study.sampler.sample_independent(self.study, orphan, name, distribution)

    def _count_futile_starts(self, trial: optuna.Trial, orphan: FrozenTrial) -> int:
        """Count the starts of a trial since it last came further, or was last stopped on purpose.

        A checkpoint between two evaluations is further. For example, a trial evaluated at iterations 2 and 4 that
        drivers then died over three times has been counted at step 4 three times: 1, 2, 3. Had it come to 6 between
        them, the next count would be 1 again.
        """
        before = orphan.user_attrs.get(FUTILE_STARTS, {"starts": 0, "step": None})
        reached = _reached(orphan)
        starts = before["starts"] + 1 if before["starts"] < 0 or before["step"] == reached else 1
        trial.set_user_attr(FUTILE_STARTS, {"starts": starts, "step": reached})
        return starts

    def leave(self) -> None:
        """Leave what runs to the next driver, without this start being counted against it."""
        for number, trial in self._live.items():
            # the next start counts it up to 0, and one that dies to 1
            trial.set_user_attr(FUTILE_STARTS, {"starts": -1, "step": self._frozen(number).last_step})

    def _repeat(self, retry: FrozenTrial) -> Suggestion:
        self.study.sampler = self._sampler(retry.number)
        return self._start(optuna_internals.begin_enqueued(self.study, retry), 1)

    def _start(self, trial: optuna.Trial, attempt: int) -> Suggestion:
        self._cached_summary = None
        values = self.space.suggest(trial) if self.space else {}
        self.spending.price(values)
        self.valuation.begin(trial, values)
        self._live[trial.number] = trial
        repeated = trial.user_attrs.get(RETRY_OF)
        return Suggestion(arm=self.arm, number=trial.number, attempt=attempt, values=values, retry_of=repeated)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """That of a trial by its number. Replicates are not sampled: each is enqueued before it is asked for."""
        return sampler(self._config, self.arm, number, None if self._replicated else self.space)

    def report(self, number: int, iteration: int, value: float) -> None:
        """Record an evaluation; one that is already recorded stays as it is."""
        if iteration not in self._frozen(number).intermediate_values:
            optuna_internals.report(self.study, self._live[number], value, iteration)

    def last_step(self, number: int) -> int:
        """The last iteration at which a live trial was evaluated; 0 before the first."""
        return self._frozen(number).last_step or 0

    def should_prune(self, number: int) -> bool:
        """Whether the trial stops at its last evaluation, whatever for."""
        return self.stop_reason(number) is not None

    def stop_reason(self, number: int, *, prunable: bool = True) -> StopReason | None:
        """Why the trial stops at its last evaluation; None where it goes on. The reason is kept with the trial.

        Args:
            number: of a live trial.
            prunable: whether it may be held against others.
        """
        reason = self._stop_reason(number, prunable)
        if reason != self.stopped_by(number):  # it may go on after all, with a budget that was raised meanwhile
            self._live[number].set_user_attr(STOPPED_BY, reason)
        return reason

    def _stop_reason(self, number: int, prunable: bool) -> StopReason | None:
        trial = self._frozen(number)
        cost = self.spending.cost(trial, trial.last_step or 0) or 0.0
        if self.spending.uses_up(self._committed(without=number) + cost):
            return "budget"
        return "pruning" if prunable and self._is_pruned(trial) else None

    def _is_pruned(self, trial: FrozenTrial) -> bool:
        """Whether early stopping ends a trial; of one that is kept is noted that it would have been."""
        if self._stopping is None or WOULD_STOP in trial.user_attrs or not self._stopping.stops(trial):
            return False
        if self._config.pruning.keeps(trial.number):
            self._live[trial.number].set_user_attr(WOULD_STOP, trial.last_step)
            return False
        return True

    def earliest_stop(self, run: TrialRun) -> int | None:
        """The first iteration at which early stopping may judge a trial; its budget where it never does.

        None in an arm without early stopping.
        """
        return run.budget if self._grace is not None and not run.prunable else self._grace

    def stopped_by(self, number: int) -> str | None:
        """Why a live trial was stopped; None where it was not."""
        return why_stopped(self._frozen(number))

    def _frozen(self, number: int) -> FrozenTrial:
        return optuna_internals.as_stored(self.study, self._live[number])

    def tell(
        self, number: int, state: TrialState, value: float | None, row: Mapping[str, Any], *, fault: str | None = None
    ) -> None:
        """End a trial; what the trials table says of it is kept here first.

        Args:
            number: of a live trial.
            state: in which it ended.
            value: the mIoU that it scored, in percent.
            row: of the trials table.
            fault: the exception, and the place in the code, where any trial would fail again; None for all else.
        """
        trial = self._live.pop(number)
        trial.set_user_attr(ROW, json.dumps(row))
        if fault is not None:
            trial.set_user_attr(FAULT, fault)
        values = self.valuation.end(trial, value, row) if state == TrialState.COMPLETE and value is not None else None
        self.study.tell(trial, values, state=state)
        self._cached_summary = None

    def note(self, run: TrialRun) -> None:
        """Keep what a live trial runs with it, for a driver that finds it without this one."""
        self._live[run.number].set_user_attr(RUN, json.dumps(run.plain()))

    def complete(self) -> list[FrozenTrial]:
        """The trials that used their whole budget."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def ended(self) -> list[FrozenTrial]:
        """All trials that are no longer waiting or running."""
        return self.study.get_trials(deepcopy=False, states=ENDED)

    @property
    def well_ended_first_runs(self) -> int:
        """Trials that ended well, but those that repeat a failed one: an older kdstudy ran these beyond a budget."""
        well = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return sum(RETRY_OF not in trial.user_attrs for trial in well)

    def begun(self) -> list[FrozenTrial]:
        """All trials that run or have ended."""
        return self.study.get_trials(deepcopy=False, states=(*ENDED, TrialState.RUNNING))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Of all searched parameters, by path."""
        return self.space.distributions() if self.space else {}


def given_up_error(futile_starts: int) -> str | None:
    """Why a trial fails that so many drivers in a row died over without a new checkpoint; None while they are few."""
    if futile_starts < LOST_DRIVERS:
        return None
    return f"the study's driver died {futile_starts} times in a row without a new checkpoint of this trial"


def noted_run(trial: FrozenTrial) -> TrialRun | None:
    """What a trial runs, as `note` kept it; None where the driver died before that, or the journal lost it."""
    noted = trial.user_attrs.get(RUN)
    return None if noted is None else TrialRun.parse(json.loads(noted))


def _reached(trial: FrozenTrial) -> int | None:
    """The iteration that a trial has come to, by its evaluations and its checkpoints; None where it has neither."""
    from trainers.checkpoints.places import checkpoints_at  # who reads a ledger needs no PyTorch

    found = trial.last_step or 0
    if run := noted_run(trial):
        with suppress(ValueError):  # a store out of reach
            found = max(found, checkpoints_at(run.checkpoints).newest_iteration())
    return found or None


def _is_prunable(trial: FrozenTrial) -> bool:
    """Whether early stopping judges a trial, by the run that was noted."""
    noted = trial.user_attrs.get(RUN)
    return noted is not None and bool(json.loads(noted).get("prunable"))


def _replicate(trial: FrozenTrial) -> int | None:
    """Which replicate a trial is, also of one that is enqueued and not begun."""
    return trial.params.get(REPLICATE, optuna_internals.enqueued_values(trial).get(REPLICATE))


def failed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The failed ones among an arm's trials that were not run again.

    A failed replicate is replaced by its like without being asked for, so one replicate may have failed several times
    when its last failure is run again: then none of them counts. For example, trials 1, 2 and 3 are replicate 1 and
    failed, and trial 4 repeats trial 3: nothing is failed. If 4 fails too, it alone is.
    """
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    last = {_replicate(trial): trial.number for trial in trials if trial.number in repeated}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and trial.number not in repeated
        and (REPLICATE not in trial.params or trial.number > last.get(trial.params[REPLICATE], -1))
    ]


def given_up_because(trials: Sequence[FrozenTrial], max_failed: int) -> str | None:
    """Why no more trials of an arm are started; None where they are. A failed one that is run again does not count.

    Args:
        trials: all of the arm.
        max_failed: failed trials after which it is given up, whatever they failed by.
    """
    left = failed(trials)
    places = {trial.user_attrs.get(FAULT) for trial in left}
    well = any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    if len(left) >= ALIKE and len(places) == 1 and None not in places and not well:
        return f"because all of its {len(left)} trials that ended failed alike: {places.pop()}"
    trials_failed = f"{len(left)} failed trial{'s' if len(left) > 1 else ''}"
    return f"after {trials_failed} (execution.max_failed)" if len(left) >= max_failed else None


def open_arms(
    config: StudyConfig,
    folder: Path,
    *,
    with_teacher: bool,
    price: Callable[[], Mapping[str, ArmPrices]] | None = None,
    measure: MeasureLatency | None = None,
) -> dict[str, ArmLedger]:
    """Open, or create, the ledger of every arm; the first settings of new arms are enqueued.

    These are the defaults of its space, what the arm enqueues, and the startup settings that all arms share.

    Args:
        with_teacher: whether the study trains its teacher itself, as an arm with one trial.
        price: makes the prices of a study whose ledger has none; None for counting operations, and only where a budget
            needs it and the study counts its cost in them.
        measure: times the students of a study whose ledger does not have them, on the device of a worker, because what
            is in the ledger stays. None for a caller that starts no trial of an arm: they are left to one that does.

    Raises:
        ConfigError: the ledger's trials belong to a study whose numbers would not compare with this one's, or there are
            more of them, or dearer ones, than the budget allows.
    """
    storage = open_storage(config, folder)
    names = [*([TEACHER] if with_teacher else []), *config.arms]
    studies = {name: _open_study(config, name, storage) for name in names}
    _price(config, studies, price)
    _measure(config, studies, measure)
    arms = {}
    if TEACHER not in studies and study_names(config)[TEACHER] in optuna.get_all_study_names(storage):
        _open_study(config, TEACHER, storage)  # what it was trained by holds, also once it is
    for name, study in studies.items():
        if name == TEACHER:
            arms[name] = ArmLedger(name, study, space=None, budget=1, config=config)
            continue
        arms[name] = ArmLedger(
            name,
            study,
            space=config.space(name),
            budget=_most_trials(config, name),
            config=config,
            first=_first_settings(config, name),
        )
    _refuse_lowered(arms)
    return arms


def _price(
    config: StudyConfig,
    studies: Mapping[str, optuna.Study],
    price: Callable[[], Mapping[str, ArmPrices]] | None,
) -> None:
    """Write the prices of arms that have none, because they have no trial yet; those of other arms stay."""
    if config.tuning_rules < EQUAL:
        return
    _price_added_searches(config, studies)
    unpriced = [name for name, study in studies.items() if read_prices(study.user_attrs) is None]
    counted = config.price == "operations" and any(config.budget_of(arm) for arm in config.arms)
    if not unpriced or (price is None and not counted):
        return
    made = price() if price else price_arms(config)
    for name in unpriced:
        if name in made:
            keep_prices(studies[name], made[name])


def _price_added_searches(config: StudyConfig, studies: Mapping[str, optuna.Study]) -> None:
    """Give a search that was added to a study the prices of the arm's first one: another measurement would differ."""
    for name, arm in config.arms.items():
        known = read_prices(studies[arm.search_of].user_attrs) if arm.search_of else None
        if known is not None and read_prices(studies[name].user_attrs) is None:
            keep_prices(studies[name], known)


def _measure(config: StudyConfig, studies: Mapping[str, optuna.Study], measure: MeasureLatency | None) -> None:
    """Write what the students of arms take that have none, because they have no trial yet; those of others stay."""
    if measure is None:
        return
    kept = {name: read_students(studies[name].user_attrs) for name in config.arms}
    known = {name: students for name, students in kept.items() if students is not None}
    begun = {name for name in config.arms if name not in known and studies[name].get_trials(deepcopy=False)}
    for name, students in measure_arms(config, known, measure, leave=begun).items():
        keep_students(studies[name], students)


def _first_settings(config: StudyConfig, arm: str) -> tuple[Mapping[str, Any], ...]:
    """What an arm tries first, whatever its sampler; some values or all."""
    if config.arms[arm].replicated:
        return ()
    if config.tuning_rules == EQUAL and config.search.sampler == "grid":
        return config.arms[arm].enqueue
    return (config.space(arm).defaults(), *config.arms[arm].enqueue, *startup_settings(config, arm))


def _most_trials(config: StudyConfig, arm: str) -> int:
    """Trials of an arm at most: a grid ends when each of its combinations was tried."""
    chosen = config.arms[arm]
    if chosen.replicated or config.search.sampler != "grid":
        return chosen.trials
    return min(chosen.trials, grid_size(config.space(arm), config.search.points) + len(chosen.enqueue))


def _refuse_lowered(arms: Mapping[str, ArmLedger]) -> None:
    """Raise ConfigError for budgets below what was done already, whoever lowered them."""
    if lowered := [fault for arm in arms.values() for fault in _lowered(arm)]:
        raise ConfigError(lowered)


def _lowered(arm: ArmLedger) -> Iterator[str]:
    done = arm.well_ended_first_runs
    if done > arm.budget:
        law = f"must be at least the {done} trials that have ended well, but got {arm.budget}"
        yield f"arms.{arm.arm}.trials: {law}; raise it to that"
    prices, budget = arm.spending.prices, arm.spending.budget
    if prices and budget and arm.spending.is_lowered(arm.ended()):
        spent, allowed = (round(cost / prices.whole_trial, 3) for cost in (arm.spent, budget))
        law = f"must be at least the {spent} whole trials that the arm has spent, but comes to {allowed}"
        yield f"arms.{arm.arm}.budget: {law}; raise it, or the study's, to that"


def _open_study(config: StudyConfig, arm: str, storage: BaseStorage) -> optuna.Study:
    study = optuna.create_study(
        storage=storage,
        study_name=f"{config.name}/{arm}",
        directions=directions(config.objectives_of(arm)),
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


def study_directions(config: StudyOutline) -> dict[str, list[StudyDirection]]:
    """Whether each value of an arm's trials is to be high or low, by the name of the arm's Optuna study."""
    return {name: directions(config.objectives_of(arm)) for arm, name in study_names(config).items()}


def trials_by_arm(config: StudyOutline, folder: Path) -> dict[str, list[FrozenTrial]]:
    """All trials of every arm, the teacher's among them, for a reader beside the driver."""
    return {arm: trials for arm, (trials, _) in _read(config, folder).items()}


def _read(config: StudyOutline, folder: Path) -> dict[str, tuple[list[FrozenTrial], dict[str, Any]]]:
    """The trials of every arm, and the user attributes of its Optuna study."""
    names = study_names(config)
    with tempfile.TemporaryDirectory() as place:
        if config.storage == "journal" and (folder / JOURNAL).exists():
            content = (folder / JOURNAL).read_bytes()
            (Path(place) / JOURNAL).write_bytes(repair(content, study_directions(config)).content)
            folder = Path(place)
        storage = open_storage(config, folder)
        found, noted = optuna_internals.trials_by_study(storage), optuna_internals.attributes_by_study(storage)
        return {arm: (found.get(name, []), noted.get(name, {})) for arm, name in names.items()}


class FailedTrial(NamedTuple):
    """A failed trial: its number, what it failed by, and where more of it is written, below the study's folder."""

    number: int
    error: str | None
    explained_in: str | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> "FailedTrial":
        row = json.loads(trial.user_attrs.get(ROW, "{}"))
        return cls(trial.number, row.get("error", trial.user_attrs.get("error")), row.get("error_file"))


class ArmStanding(NamedTuple):
    """How far an arm has come.

    Attributes:
        counts: trials by state, beside the `budget`.
        spent: None where the study has no prices.
        failed: the failed trials that were not run again.
    """

    counts: dict[str, int]
    spent: Spent | None
    failed: tuple[FailedTrial, ...]


def status(config: StudyOutline, folder: Path) -> dict[str, dict[str, int]]:
    """Trials by arm and state, beside the `budget` of each arm; of the teacher only where the study trains it."""
    return {arm: found.counts for arm, found in standing(config, folder).items()}


def standing(config: StudyOutline, folder: Path) -> dict[str, ArmStanding]:
    """How far each arm has come; the teacher's only where the study trains it."""
    arms = {}
    for arm, (trials, attributes) in _read(config, folder).items():
        if arm == TEACHER and not trials:
            continue
        found = Counter(trial.state.name for trial in trials)
        budget = 1 if arm == TEACHER else config.arms[arm].trials
        prices = read_prices(attributes)
        arms[arm] = ArmStanding(
            {"budget": budget, **{state.name: found[state.name] for state in TrialState}},
            Spent.of(trials, prices, config.budget_of(arm)) if prices else None,
            tuple(map(FailedTrial.of, failed(trials))),
        )
    return arms

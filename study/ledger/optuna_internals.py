"""All that reaches behind Optuna's public interface, which is why its major version is pinned.

A ledger has to go on with trials that another process began, which Optuna's public interface does not offer: it finds
trials by number and reads them, but only `ask` gives a `Trial` that can report. What is used here is a trial's
`_trial_id`, a study's `_study_id` and `_storage`, the names of system attributes, the operations of a journal, and how
TPE reads a study's trials.
"""

import copy
from collections.abc import Mapping, Sequence, Set
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, QMCSampler, TPESampler
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.storages import BaseStorage
from optuna.storages.journal._storage import JournalOperation as JournalOperation  # journal.py takes it from here
from optuna.trial import FrozenTrial, TrialState

OPERATION_FIELDS = {
    JournalOperation.CREATE_STUDY: {"study_name", "directions"},
    JournalOperation.DELETE_STUDY: {"study_id"},
    JournalOperation.SET_STUDY_USER_ATTR: {"study_id", "user_attr"},
    JournalOperation.SET_STUDY_SYSTEM_ATTR: {"study_id", "system_attr"},
    JournalOperation.CREATE_TRIAL: {"study_id", "datetime_start"},
    JournalOperation.SET_TRIAL_PARAM: {"trial_id", "param_name", "param_value_internal", "distribution"},
    JournalOperation.SET_TRIAL_STATE_VALUES: {"trial_id", "state", "values"},
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE: {"trial_id", "step", "intermediate_value"},
    JournalOperation.SET_TRIAL_USER_ATTR: {"trial_id", "user_attr"},
    JournalOperation.SET_TRIAL_SYSTEM_ATTR: {"trial_id", "system_attr"},
}
"""What a line of a journal must have, by its "op_code", beside the "worker_id" of all."""

_RUNG = "completed_rung_"
"""Before a rung's number: the system attribute in which SuccessiveHalvingPruner keeps what a trial scored there."""


def reopen(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """A trial of the storage as one that can suggest and report; what it has suggested before is suggested again."""
    return optuna.Trial(study, trial._trial_id)


def begin_enqueued(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Begin this waiting trial; `study.ask` would take the first one that waits, whichever that is."""
    study._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
    return reopen(study, trial)


def as_stored(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    """What the storage has of a trial, uncopied: at most to be read. Finding it by number would look at all trials."""
    return study._storage.get_trial(trial._trial_id)


def report(study: optuna.Study, trial: optuna.Trial, value: float, step: int) -> None:
    """Keep an evaluation of a trial; Optuna's own `report` refuses studies of several objectives, which keep them too.

    Args:
        study: of the trial.
        trial: live.
        value: of the evaluation.
        step: at which.
    """
    study._storage.set_trial_intermediate_value(trial._trial_id, step, value)


def trials_by_study(storage: BaseStorage) -> dict[str, list[FrozenTrial]]:
    """All trials of a storage, by the name of their study, without opening one: that would write to it."""
    return {s.study_name: storage.get_all_trials(s._study_id, deepcopy=False) for s in storage.get_all_studies()}


def attributes_by_study(storage: BaseStorage) -> dict[str, dict[str, Any]]:
    """The user attributes of all studies of a storage, by name."""
    return {s.study_name: storage.get_study_user_attrs(s._study_id) for s in storage.get_all_studies()}


def enqueued_values(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that a trial was enqueued with, by parameter; empty for one that is sampled."""
    values: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return values


def rungs(trial: FrozenTrial) -> dict[int, Any]:
    """What a trial scored at each rung of successive halving that the pruner has judged, by the rung's number."""
    noted = trial.system_attrs.items()
    return {int(name.removeprefix(_RUNG)): value for name, value in noted if name.startswith(_RUNG)}


def note_rung(study: optuna.Study, trial: FrozenTrial, rung: int, score: Any) -> None:
    """Keep with a trial, as the pruner does, what it scored at a rung."""
    study._storage.set_trial_system_attr(trial._trial_id, f"{_RUNG}{rung}", score)


def with_rungs(trial: FrozenTrial, scores: Mapping[int, Any]) -> FrozenTrial:
    """A copy of a trial as if the pruner had kept these scores too."""
    noted = copy.copy(trial)
    noted.system_attrs = {**trial.system_attrs, **{f"{_RUNG}{rung}": score for rung, score in scores.items()}}
    return noted


def without_rungs(trial: FrozenTrial, forgotten: Set[int]) -> FrozenTrial:
    """A copy of a trial as it was before the pruner judged it at these rungs."""
    before = copy.copy(trial)
    names = {f"{_RUNG}{rung}" for rung in forgotten}
    before.system_attrs = {name: value for name, value in trial.system_attrs.items() if name not in names}
    return before


def hyperband_bracket(pruner: HyperbandPruner, study: optuna.Study, trial: FrozenTrial) -> int:
    """How many rungs later than the first bracket's a trial's first rung is."""
    if not pruner._pruners:  # made at the first question
        pruner._try_initialization(study)
    return pruner._get_bracket_id(study, trial)


class _WithoutStopped:
    """A study of several objectives without the trials that were stopped.

    Such a trial has no values, and TPE would rank it by the study's only direction, which there is not.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._whole = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(self, deepcopy: bool, states: Sequence[TrialState], use_cache: bool) -> list[FrozenTrial]:
        kept = tuple(state for state in states if state != TrialState.PRUNED)
        return self._whole._get_trials(deepcopy, kept, use_cache)


class SpaceTPE(TPESampler):
    """TPE whose groups of parameters are given: Optuna would read every trial at every draw to find them."""

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        ranked = study if len(study.directions) == 1 else _WithoutStopped(study)
        return super()._sample(ranked, trial, search_space)  # type: ignore[arg-type]  # it is only read

    def __init__(self, groups: Sequence[Mapping[str, BaseDistribution]], **options: Any) -> None:
        super().__init__(**options)
        self._groups = groups

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters that have more than one value; the groups are kept for the draw."""
        found = _SearchSpaceGroup()
        for group in self._groups:
            found.add_distributions(dict(group))
        self._search_space_group = found
        every = {name: one for group in self._groups for name, one in sorted(group.items())}
        return {name: one for name, one in every.items() if not one.single()}


class NumberedSobol(QMCSampler):
    """A scrambled Sobol sequence whose point is the trial's number, where Optuna counts draws, also those of the dead.

    Choices are drawn at random, as Optuna does.

    Args:
        number: of the trial.
        space: the numbers that are searched, also those that do not always exist.
        seed: of the sequence.
        independent: draws all else.
    """

    def __init__(
        self, number: int, space: Mapping[str, BaseDistribution], *, seed: int, independent: BaseSampler
    ) -> None:
        super().__init__(
            scramble=True,
            seed=seed,
            independent_sampler=independent,
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )
        self._number, self._numbers = number, dict(space)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All numbers of the space, whichever the first trial had."""
        return self._numbers

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number

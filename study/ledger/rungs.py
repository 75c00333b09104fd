"""Early stopping by one of Optuna's pruners, whose word counts once however often drivers die over it.

Successive halving, alone or in Hyperband, notes in the ledger which rungs a trial has reached, and only then says
whether it stops; noted rungs it never judges again. So a driver that dies between the note and the trial's end leaves a
trial whose last evaluation has to be judged as if for the first time.
"""

import copy

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from study.configuration.tuning import PruningConfig

NOTED = "completed_rung_"
"""What the pruner's notes begin with; the number of the rung follows."""


class EarlyStopping:
    """Decides which trials of an arm stop.

    Args:
        pruning: the study's.
        grace: iterations of the first rung.
        iterations: of a whole trial.
    """

    def __init__(self, pruning: PruningConfig, *, grace: int, iterations: int) -> None:
        self._grace, self._factor = grace, pruning.reduction_factor
        self._pruner = _pruner(pruning, grace, max(grace, iterations))

    def stops(self, study: optuna.Study, trial: FrozenTrial, *, anew: bool) -> bool:
        """Whether a trial stops at its last evaluation.

        Args:
            study: the ledger's, which keeps the rungs.
            trial: as it stands there.
            anew: whether a driver that is dead may have judged this evaluation.
        """
        reached = self._reached_at_last_step(study, trial) if anew else set()
        if not reached:
            return self._pruner.prune(study, trial)
        # Hyperband chooses a trial's bracket by the name of its study
        past = optuna.create_study(study_name=study.study_name, direction=study.direction)
        past.add_trials(
            [_without(t, reached) if t.number == trial.number else t for t in study.get_trials(deepcopy=False)]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for name, value in past.get_trials(deepcopy=False)[trial.number].system_attrs.items():
            if name not in trial.system_attrs:  # the driver died between two rungs
                study._storage.set_trial_system_attr(trial._trial_id, name, value)
        return stops

    def _reached_at_last_step(self, study: optuna.Study, trial: FrozenTrial) -> set[str]:
        """The notes of the rungs that a trial reached at its last evaluation."""
        *_, before, last = 0, 0, *sorted(trial.intermediate_values)
        rungs = [int(name.removeprefix(NOTED)) for name in trial.system_attrs if name.startswith(NOTED)]
        later = self._bracket(study, trial)
        return {f"{NOTED}{rung}" for rung in rungs if before < self._grace * self._factor ** (later + rung) <= last}

    def _bracket(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """How many rungs later than `grace` a trial's first rung is."""
        if not isinstance(self._pruner, HyperbandPruner):
            return 0
        if not self._pruner._pruners:  # made at the first question
            self._pruner._try_initialization(study)
        return self._pruner._get_bracket_id(study, trial)


def _pruner(pruning: PruningConfig, grace: int, iterations: int) -> BasePruner:
    if not pruning.on:
        return NopPruner()
    if pruning.kind == "median":
        return MedianPruner(n_warmup_steps=grace - 1)
    if pruning.kind == "hyperband":
        return HyperbandPruner(min_resource=grace, max_resource=iterations, reduction_factor=pruning.reduction_factor)
    return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=pruning.reduction_factor)


def _without(trial: FrozenTrial, names: set[str]) -> FrozenTrial:
    past = copy.copy(trial)
    past.system_attrs = {name: value for name, value in trial.system_attrs.items() if name not in names}
    return past

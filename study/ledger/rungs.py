"""Early stopping by successive halving: Optuna's pruner, whose word counts once however often drivers die over it.

The pruner notes in the ledger which rungs a trial has reached, and only then says whether it stops; noted rungs it
never judges again. So a driver that dies between the note and the trial's end leaves a trial whose last evaluation has
to be judged as if for the first time.
"""

import copy

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

NOTED = "completed_rung_"
"""What the pruner's notes begin with; the number of the rung follows."""


class Halving:
    """Decides which trials of an arm stop.

    Args:
        grace: iterations of the first rung.
        factor: one in so many trials goes on from each rung; 0 for no early stopping.
    """

    def __init__(self, grace: int, factor: int) -> None:
        self._grace, self._factor = grace, factor
        self._pruner: BasePruner = (
            SuccessiveHalvingPruner(min_resource=grace, reduction_factor=factor) if factor else NopPruner()
        )

    def stops(self, study: optuna.Study, trial: FrozenTrial, *, anew: bool) -> bool:
        """Whether a trial stops at its last evaluation.

        Args:
            study: the ledger's, which keeps the rungs.
            trial: as it stands there.
            anew: whether a driver that is dead may have judged this evaluation.
        """
        reached = self._reached_at_last_step(trial) if anew else set()
        if not reached:
            return self._pruner.prune(study, trial)
        past = optuna.create_study(direction=study.direction)
        past.add_trials(
            [_without(t, reached) if t.number == trial.number else t for t in study.get_trials(deepcopy=False)]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for name, value in past.get_trials(deepcopy=False)[trial.number].system_attrs.items():
            if name not in trial.system_attrs:  # the driver died between two rungs
                study._storage.set_trial_system_attr(trial._trial_id, name, value)
        return stops

    def _reached_at_last_step(self, trial: FrozenTrial) -> set[str]:
        """The notes of the rungs that a trial reached at its last evaluation."""
        *_, before, last = 0, 0, *sorted(trial.intermediate_values)
        rungs = [int(name.removeprefix(NOTED)) for name in trial.system_attrs if name.startswith(NOTED)]
        return {f"{NOTED}{rung}" for rung in rungs if before < self._grace * self._factor**rung <= last}


def _without(trial: FrozenTrial, names: set[str]) -> FrozenTrial:
    past = copy.copy(trial)
    past.system_attrs = {name: value for name, value in trial.system_attrs.items() if name not in names}
    return past

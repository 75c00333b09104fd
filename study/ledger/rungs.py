"""Early stopping by successive halving: Optuna's pruner, whose word counts once however often drivers die over it.

The pruner notes in the ledger which rungs a trial has reached, and only then says whether it stops; noted rungs it
never judges again. So a driver that dies between the note and the trial's end leaves a trial whose last evaluation has
to be judged as if for the first time.
"""

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from study.ledger.optuna_internals import note_rung, rungs, without_rungs


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
        # judged in a copy of the study, in memory, where the pruner does not see its own notes of this evaluation
        past = optuna.create_study(direction=study.direction)
        past.add_trials(
            [without_rungs(t, reached) if t.number == trial.number else t for t in study.get_trials(deepcopy=False)]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for rung, score in rungs(past.get_trials(deepcopy=False)[trial.number]).items():
            if rung not in rungs(trial):  # the driver died between two rungs
                note_rung(study, trial, rung, score)
        return stops

    def _reached_at_last_step(self, trial: FrozenTrial) -> set[int]:
        """The rungs that the pruner has noted and that a trial reached at its last evaluation.

        With a grace of 2 and a factor of 3 the rungs lie at 2, 6, 18, ... iterations: a trial that was evaluated at 4
        and then at 8 reached rung 1, of 6 iterations, at its last evaluation, and rung 0 before.
        """
        *_, before, last = 0, 0, *sorted(trial.intermediate_values)
        return {rung for rung in rungs(trial) if before < self._grace * self._factor**rung <= last}

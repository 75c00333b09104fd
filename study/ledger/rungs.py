"""Early stopping by one of Optuna's pruners, whose word counts once however often drivers die over it.

Successive halving, alone or in Hyperband, notes in the ledger which rungs a trial has reached, and only then says
whether it stops; noted rungs it never judges again. So a driver that dies between the note and the trial's end leaves a
trial whose last evaluation has to be judged as if for the first time.
"""

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from study.configuration.tuning import PruningConfig
from study.ledger.optuna_internals import hyperband_bracket, note_rung, rungs, without_rungs


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
        # judged in a copy of the study, in memory, where the pruner does not see its own notes of this evaluation;
        # of the same name, by which Hyperband chooses a trial's bracket
        past = optuna.create_study(study_name=study.study_name, direction=study.direction)
        past.add_trials(
            [without_rungs(t, reached) if t.number == trial.number else t for t in study.get_trials(deepcopy=False)]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for rung, score in rungs(past.get_trials(deepcopy=False)[trial.number]).items():
            if rung not in rungs(trial):  # the driver died between two rungs
                note_rung(study, trial, rung, score)
        return stops

    def _reached_at_last_step(self, study: optuna.Study, trial: FrozenTrial) -> set[int]:
        """The rungs that the pruner has noted and that a trial reached at its last evaluation.

        With a grace of 2 and a factor of 3 the rungs lie at 2, 6, 18, ... iterations: a trial that was evaluated at 4
        and then at 8 reached rung 1, of 6 iterations, at its last evaluation, and rung 0 before. In the second bracket
        of Hyperband rung 0 lies where rung 1 does in the first.
        """
        *_, before, last = 0, 0, *sorted(trial.intermediate_values)
        noted = rungs(trial)
        bracket = hyperband_bracket(self._pruner, study, trial) if isinstance(self._pruner, HyperbandPruner) else 0
        return {rung for rung in noted if before < self._grace * self._factor ** (bracket + rung) <= last}


def _pruner(pruning: PruningConfig, grace: int, iterations: int) -> BasePruner:
    if not pruning.on:
        return NopPruner()
    if pruning.kind == "median":
        return MedianPruner(n_warmup_steps=grace - 1)
    if pruning.kind == "hyperband":
        return HyperbandPruner(min_resource=grace, max_resource=iterations, reduction_factor=pruning.reduction_factor)
    return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=pruning.reduction_factor)

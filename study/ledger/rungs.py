"""Early stopping by one of Optuna's pruners, whose word counts once however often drivers die over it.

Successive halving, alone or in Hyperband, notes in the ledger which rungs a trial has reached, and only then says
whether it stops; noted rungs it never judges again. So a driver that dies between the note and the trial's end leaves a
trial whose last evaluation has to be judged as if for the first time. A journal may also have lost a line: then an
evaluation has no note though the trial went on after it, or a note speaks of an evaluation that is not known; the first
is put back, and the second does not count once the evaluation is reported again.
"""

from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from study.configuration.tuning import PruningConfig
from study.ledger.optuna_internals import hyperband_bracket, note_rung, rungs, with_rungs, without_rungs

STOPPED_BY = "stopped_by"
"""User attribute of a trial: why it was stopped before its end."""


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
        self._has_rungs = isinstance(self._pruner, HyperbandPruner | SuccessiveHalvingPruner)
        self._adopted: dict[int, set[int]] = {}
        self._lost: dict[int, dict[int, float]] = {}

    def look_at(
        self, study: optuna.Study, ended: Sequence[FrozenTrial], is_judged: Callable[[FrozenTrial], bool]
    ) -> None:
        """Find out which notes of trials that have ended are lost; they compete as if they had theirs.

        Args:
            study: the ledger's.
            ended: the trials.
            is_judged: whether early stopping looks at a trial at all; asked only where something is lacking.
        """
        lost = {trial.number: (trial, self._lost_notes(study, trial)) for trial in ended}
        self._lost = {number: notes for number, (trial, notes) in lost.items() if notes and is_judged(trial)}

    def adopt(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Go on with a trial that a dead driver has left, and may have judged at its last evaluation."""
        for rung, score in self._lost_notes(study, trial).items():
            note_rung(study, trial, rung, score)
        *_, before, _ = 0, 0, *sorted(trial.intermediate_values)
        bracket = self._bracket(study, trial)
        self._adopted[trial.number] = {rung for rung in rungs(trial) if self._iterations(bracket + rung) > before}

    def stops(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial stops at its last evaluation.

        Args:
            study: the ledger's, which keeps the rungs.
            trial: as it stands there.
        """
        doubtful = self._adopted.get(trial.number, set())
        bracket = self._bracket(study, trial)
        reached = {rung for rung in doubtful if self._iterations(bracket + rung) <= max(trial.intermediate_values)}
        if not reached and not self._lost:
            return self._pruner.prune(study, trial)
        self._adopted[trial.number] = doubtful - reached
        return self._stops_in_copy(study, trial, doubtful)

    def _stops_in_copy(self, study: optuna.Study, trial: FrozenTrial, doubtful: set[int]) -> bool:
        """Judge in a copy of the study, in memory, where the pruner sees no doubtful note, and all lost ones.

        The copy has the same name, by which Hyperband chooses a trial's bracket.
        """
        past = optuna.create_study(study_name=study.study_name, direction=study.direction)
        past.add_trials(
            [
                without_rungs(other, doubtful)
                if other.number == trial.number
                else with_rungs(other, self._lost.get(other.number, {}))
                for other in study.get_trials(deepcopy=False)
            ]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for rung, score in rungs(past.get_trials(deepcopy=False)[trial.number]).items():
            if rungs(trial).get(rung) != score:  # the driver died between two rungs, or before this evaluation
                note_rung(study, trial, rung, score)
        return stops

    def _bracket(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """How many rungs later than the grace a trial's first rung is."""
        return hyperband_bracket(self._pruner, study, trial) if isinstance(self._pruner, HyperbandPruner) else 0

    def _iterations(self, rung: int) -> int:
        """Where a rung lies: with a grace of 2 and a factor of 3 at 2, 6, 18, ... iterations.

        In the second bracket of Hyperband rung 0 lies where rung 1 does in the first.
        """
        return self._grace * int(self._factor**rung)

    def _lost_notes(self, study: optuna.Study, trial: FrozenTrial) -> dict[int, float]:
        """The scores that the pruner must have noted, because the trial went on or was stopped, and that are not there.

        For example, with rungs at 2, 6 and 18, a trial that runs and was evaluated at 4, 8 and 12 was judged at 4, on
        rung 0, and at 8, on rung 1; whether it was judged at 12 is not known, but there is no rung.
        """
        if not self._has_rungs or not trial.intermediate_values:
            return {}
        *judged, last = sorted(trial.intermediate_values)
        noted, bracket = rungs(trial), self._bracket(study, trial)
        reached = self._reached(trial, judged, bracket)
        lost = {rung: score for rung, score in reached.items() if rung not in noted}
        # where it was stopped it reached one more rung at least
        was_stopped = trial.state == TrialState.PRUNED and trial.user_attrs.get(STOPPED_BY, "pruning") == "pruning"
        is_noted = trial.intermediate_values[last] in noted.values()
        if was_stopped and not is_noted and self._iterations(bracket + len(reached)) <= last:
            lost[len(reached)] = trial.intermediate_values[last]
        return lost

    def _reached(self, trial: FrozenTrial, steps: Sequence[int], bracket: int) -> dict[int, float]:
        """The rungs below these evaluations, and what the trial scored where it first was at or above each."""
        found: dict[int, float] = {}
        for step in steps:
            while self._iterations(bracket + len(found)) <= step:
                found[len(found)] = trial.intermediate_values[step]
        return found


def _pruner(pruning: PruningConfig, grace: int, iterations: int) -> BasePruner:
    if not pruning.on:
        return NopPruner()
    if pruning.kind == "median":
        return MedianPruner(n_warmup_steps=grace - 1)
    if pruning.kind == "hyperband":
        return HyperbandPruner(min_resource=grace, max_resource=iterations, reduction_factor=pruning.reduction_factor)
    return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=pruning.reduction_factor)

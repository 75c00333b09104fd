"""Early stopping by one of Optuna's pruners, whose word counts once however often drivers die over it.

Successive halving, alone or in Hyperband, notes in the ledger which rungs a trial has reached, and only then says
whether it stops; noted rungs it never judges again. So a driver that dies between the note and the trial's end leaves a
trial whose last evaluation has to be judged as if for the first time. A journal may also have lost a line: then an
evaluation has no note though the trial went on after it, or a note speaks of an evaluation that is not known; the first
is put back, and the second does not count once the evaluation is reported again. The other pruners note nothing.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Literal

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from study.configuration.tuning import PruningConfig
from study.ledger.optuna_internals import hyperband_bracket, note_rung, rungs, with_rungs, without_rungs

ROW = "row"
"""User attribute of a trial that has ended: what the trials table says of it, in JSON."""
STOPPED_BY = "stopped_by"
"""User attribute of a trial, and field of its row: why it was stopped before its end."""
StopReason = Literal["budget", "pruning"]
WOULD_STOP = "would_stop_at"
"""User attribute of a trial that runs to its end by `keep_every`: the iteration at which it would have been stopped.

From then on early stopping does not look at it, so that the others go on as if it had been stopped.
"""


class EarlyStopping:
    """Decides which trials of an arm stop.

    Args:
        study: the arm's, which keeps the rungs.
        pruning: of the whole study.
        grace: iterations of the first rung.
        iterations: of a whole trial.
    """

    def __init__(self, study: optuna.Study, pruning: PruningConfig, *, grace: int, iterations: int) -> None:
        self._study, self._grace, self._factor = study, grace, pruning.reduction_factor
        self._pruner = _pruner(pruning, grace, max(grace, iterations))
        self._adopted: dict[int, set[int]] = {}
        self._lost: dict[int, dict[int, float]] = {}

    def look_at(self, ended: Sequence[FrozenTrial], is_judged: Callable[[FrozenTrial], bool]) -> None:
        """Find out which notes of trials that have ended are lost; they compete as if they had theirs.

        Args:
            ended: the trials.
            is_judged: whether early stopping looks at a trial at all; asked only where something is lacking.
        """
        lost = {trial.number: (trial, self._lost_notes(trial)) for trial in ended}
        self._lost = {number: notes for number, (trial, notes) in lost.items() if notes and is_judged(trial)}

    def adopt(self, trial: FrozenTrial) -> None:
        """Go on with a trial that a dead driver has left, and may have judged at its last evaluation."""
        for rung, score in self._lost_notes(trial).items():
            note_rung(self._study, trial, rung, score)
        *_, before, _ = 0, 0, *sorted(trial.intermediate_values)
        self._adopted[trial.number] = {rung for rung in rungs(trial) if self._iterations(trial, rung) > before}

    def stops(self, trial: FrozenTrial) -> bool:
        """Whether a trial, as it stands in the ledger, stops at its last evaluation."""
        doubtful = self._adopted.get(trial.number, set())
        reached = {rung for rung in doubtful if self._iterations(trial, rung) <= max(trial.intermediate_values)}
        if not reached and not self._lost:
            return self._pruner.prune(self._study, trial)
        self._adopted[trial.number] = doubtful - reached
        return self._stops_in_copy(trial, doubtful)

    def _stops_in_copy(self, trial: FrozenTrial, doubtful: set[int]) -> bool:
        """Judge in a copy of the study, in memory, where the pruner sees no doubtful note, and all lost ones."""
        # of the same name, by which Hyperband chooses a trial's bracket
        past = optuna.create_study(study_name=self._study.study_name, direction=self._study.direction)
        past.add_trials(
            [
                without_rungs(other, doubtful)
                if other.number == trial.number
                else with_rungs(other, self._lost.get(other.number, {}))
                for other in self._study.get_trials(deepcopy=False)
            ]
        )
        stops = self._pruner.prune(past, past.get_trials(deepcopy=False)[trial.number])
        for rung, score in rungs(past.get_trials(deepcopy=False)[trial.number]).items():
            if rungs(trial).get(rung) != score:  # the driver died between two rungs, or before this evaluation
                note_rung(self._study, trial, rung, score)
        return stops

    def _iterations(self, trial: FrozenTrial, rung: int) -> int:
        """Where a rung of a trial lies.

        With a grace of 2 and a factor of 3 the rungs lie at 2, 6, 18, ... iterations; in the second bracket of
        Hyperband rung 0 lies where rung 1 does in the first. A trial's bracket follows from its number.
        """
        pruner = self._pruner
        bracket = hyperband_bracket(pruner, self._study, trial) if isinstance(pruner, HyperbandPruner) else 0
        return self._grace * int(self._factor ** (bracket + rung))

    def _lost_notes(self, trial: FrozenTrial) -> dict[int, float]:
        """The scores that the pruner must have noted, because the trial went on or was stopped, and that are not there.

        For example, with rungs at 2, 6 and 18, a trial that runs and was evaluated at 4, 8 and 12 was judged at 4, on
        rung 0, and at 8, on rung 1; whether it was judged at 12 is not known, but there is no rung. One that the budget
        ended at 8 was not judged there.
        """
        would_stop = trial.user_attrs.get(WOULD_STOP, math.inf)
        steps = sorted(step for step in trial.intermediate_values if step <= would_stop)
        if not isinstance(self._pruner, SuccessiveHalvingPruner | HyperbandPruner) or not steps:
            return {}
        *judged, last = steps
        found = self._reached(trial, judged)
        if math.isfinite(would_stop) or (trial.state == TrialState.PRUNED and why_stopped(trial) != "budget"):
            found |= self._stopped_at(trial, len(found), last)
        noted = rungs(trial)
        return {rung: score for rung, score in found.items() if rung not in noted}

    def _reached(self, trial: FrozenTrial, steps: Sequence[int]) -> dict[int, float]:
        """The rungs below these evaluations, and what the trial scored where it first was at or above each."""
        found: dict[int, float] = {}
        for step in steps:
            while self._iterations(trial, len(found)) <= step:
                found[len(found)] = trial.intermediate_values[step]
        return found

    def _stopped_at(self, trial: FrozenTrial, rung: int, step: int) -> dict[int, float]:
        """The next rung of a trial that was stopped at an evaluation; a score that is NaN stops without a note."""
        score = trial.intermediate_values[step]
        return {rung: score} if self._iterations(trial, rung) <= step and not math.isnan(score) else {}


def why_stopped(trial: FrozenTrial) -> str | None:
    """Why a trial was stopped; None where it was not, or an older kdstudy did not keep it.

    The reason is kept twice, and a journal may have lost one of them.
    """
    reason: str | None = trial.user_attrs.get(STOPPED_BY) or json.loads(trial.user_attrs.get(ROW, "{}")).get(STOPPED_BY)
    return reason


def _pruner(pruning: PruningConfig, grace: int, iterations: int) -> BasePruner:
    if not pruning.on:
        return NopPruner()
    if pruning.kind == "median":
        return MedianPruner(n_warmup_steps=grace - 1)
    if pruning.kind == "hyperband":
        return HyperbandPruner(min_resource=grace, max_resource=iterations, reduction_factor=pruning.reduction_factor)
    return SuccessiveHalvingPruner(min_resource=grace, reduction_factor=pruning.reduction_factor)

"""Early stopping, and the ends of budgets, behind Tune's scheduler: the ledger decides, so both survive a restart."""

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.execution.report_keys import ERROR, FINAL, STOPPED
from study.execution.stopping import Drain
from study.ledger.ledger import ArmLedger
from study.ledger.trial_run import TrialRun


class LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Reports every evaluation to the ledger and stops what its pruner drops.

    Args:
        arms: the ledger of every arm.
        metric: of a report; what the rungs compare.
        drain: whether the driver is being stopped; then trials are, at the checkpoint that they are asked for or at an
            evaluation, whichever comes first.
    """

    def __init__(self, arms: Mapping[str, ArmLedger], metric: str, drain: Drain) -> None:
        super().__init__()
        self._arms, self._metric, self._drain = arms, metric, drain

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Tune asks this before it tells its callbacks."""
        return self._drain.guard(lambda: self._decide(trial, result), str(TrialScheduler.CONTINUE))

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        if STOPPED in result:
            self._drain.left.add(trial.trial_id)
            return str(TrialScheduler.STOP)
        if FINAL in result or ERROR in result or self._metric not in result:
            return str(TrialScheduler.CONTINUE)
        run = TrialRun.parse(trial.config)
        arm, iteration = self._arms[run.arm], int(result["iteration"])
        arm.report(run.number, iteration, float(result[self._metric]))
        repeated = iteration < arm.last_step(run.number)  # by a trial that goes on; it was judged before
        if repeated or iteration >= run.budget:
            return str(TrialScheduler.CONTINUE)
        # what may not be held against others still ends with the arm's budget
        if arm.should_prune(run.number) if run.prunable else arm.stop_reason(run.number, prunable=False):
            return str(TrialScheduler.STOP)
        if self._drain.on:
            self._drain.left.add(trial.trial_id)
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler, but nothing here is ever read back."""
        return {}

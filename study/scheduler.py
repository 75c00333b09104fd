"""Early stopping behind Tune's scheduler: the ledger decides, so rungs survive a restart."""

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.ledger import ArmLedger
from study.trial import ERROR, FINAL, OBJECTIVES


class LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Reports every evaluation to the ledger and stops what its pruner drops.

    Args:
        arms: the ledger of every arm.
        objective: "last" or "best": which mIoU the rungs compare.
    """

    def __init__(self, arms: Mapping[str, ArmLedger], objective: str) -> None:
        super().__init__()
        self._arms, self._metric = arms, OBJECTIVES[objective]

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Tune asks this before it tells its callbacks."""
        if FINAL in result or ERROR in result or self._metric not in result:
            return str(TrialScheduler.CONTINUE)
        arm, number = self._arms[trial.config["arm"]], trial.config["number"]
        arm.report(number, int(result["iteration"]), float(result[self._metric]))
        may_stop = trial.config["prunable"] and result["iteration"] < trial.config["budget"]
        if may_stop and arm.should_prune(number):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler, but nothing here is ever read back."""
        return {}

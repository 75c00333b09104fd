"""How a trial ended: the one place where that is decided for a trial that ran to its end under this driver.

(The other end is the ledger's: a trial over which several drivers died is failed there, before it is started again.)
"""

import math
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from study.execution.recording.failures import Failure, reason
from study.execution.report_keys import ERROR, FINAL
from trainers.config import TrainConfig


def outcome(last: Mapping[str, Any], *, metric: str, failure: Failure | None = None) -> tuple[TrialState, str | None]:
    """The state in which a trial ended, and why it failed.

    Args:
        last: the trial's last report; empty where there was none.
        metric: of a report, what the study maximises.
        failure: of the trial's processes, None where the trial came to an end by itself or was stopped.

    Returns:
        FAIL with the reason: its processes failed, it reported an error that a retry would not help (divergence), or
        its score is missing or not finite. COMPLETE for the report that ends a used budget. PRUNED for all
        else: only the scheduler ends a trial that has reported neither.
    """
    if failure is not None:
        return TrialState.FAIL, reason(failure)
    if ERROR in last:
        return TrialState.FAIL, str(last[ERROR])
    value = last.get(metric)
    if value is None or not math.isfinite(value):
        return TrialState.FAIL, f"{metric} must be finite, but got {value}"
    return (TrialState.COMPLETE if FINAL in last else TrialState.PRUNED), None


def all_skipped(train: TrainConfig, report: Mapping[str, Any]) -> str | None:
    """What to say of a float16 trial that skipped every step since its report before; None where it trained."""
    skipped, iteration = int(report.get("train/skipped_steps", 0)), int(report["iteration"])
    if skipped < (iteration % train.evaluate_every or train.evaluate_every):
        return None
    return (
        f"its gradients were not finite at any of the {skipped} steps before iteration {iteration}, so nothing was "
        f"trained there; its loss scale is {report['train/loss_scale']:g}"
    )

"""run_trial: one Tune trial is one Ray Train run, or the same training in the trial's own process.

Ray Train would start five more processes beside each trial's workers (a controller, a queue, a dataset manager, a
placement-group cleaner and a synchroniser), and the cleaner works only where Ray's dashboard runs. Here the controller
runs in the trial's process, reports go to Tune directly, there is no dataset manager, and the placement group of a
worker group is written down beside the trial, where `release` finds it whatever has died. All else is Ray Train's. What
this touches of Ray is internal to it, which is why Ray's version is pinned.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.execution.ray_train import report_again, run_train
from study.execution.report_keys import ERROR, FINAL
from trainers.checkpoints.manifest import METRICS
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.reading import read_metrics
from trainers.checkpoints.store import UnreachableError
from trainers.resources.peak_memory import noted_peak
from trainers.worker import CHECKPOINT, InlineContext, attempt


def run_trial(config: dict[str, Any]) -> None:
    """Tune's function: train, and end with a report that says how.

    Args:
        config: what LedgerSearcher hands out.
    """
    from ray import tune

    run = _run_inline if config["execution"]["engine"] == "inline" else run_train
    folder = Path(config["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report_again(config["checkpoints"])
        with noted_peak(folder) if run is _run_inline else contextlib.nullcontext():
            outcome = run(config, folder)
    except UnreachableError as error:
        outcome = {ERROR: f"{type(error).__name__}: {error}"}
    if ERROR in outcome:
        outcome = {**_last_told(config["checkpoints"]), **outcome}
    else:
        outcome |= {FINAL: True, CHECKPOINT: checkpoints_at(config["checkpoints"]).of(outcome["iteration"])}
    tune.report(outcome)


def _last_told(place: str) -> dict[str, Any]:
    """How far a trial came that failed, and what that cost."""
    with contextlib.suppress(UnreachableError):
        for last in checkpoints_at(place).whole((METRICS,)):
            return {**read_metrics(last), CHECKPOINT: last}
    return {}


def _run_inline(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from ray import tune

    context = InlineContext(folder, tune.report, place=config["checkpoints"])
    return attempt(config["trial"], context, config["execution"]["loader_workers"])

"""run_trial: one Tune trial is one Ray Train run, or the same training in the trial's own process.

Ray Train would start five more processes beside each trial's workers (a controller, a queue, a dataset manager, a
placement-group cleaner and a synchroniser), and the cleaner works only where Ray's dashboard runs. Here the controller
runs in the trial's process, reports go to Tune directly, there is no dataset manager, and the placement group of a
worker group is written down beside the trial, where `release` finds it whatever has died. All else is Ray Train's. What
this touches of Ray is internal to it, which is why Ray's version is pinned.
"""

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from study.configuration.config import Engine
from study.execution.capacity import ClusterCapacity
from study.execution.ray_train import report_again, run_train
from study.execution.recording.failures import Failure, raised_before, reason
from study.execution.report_keys import ERROR, FINAL, STOPPED
from study.folder import dataset_note, request_note
from study.ledger.trial_run import TrialRun
from trainers.checkpoints.interval import Interval
from trainers.checkpoints.manifest import METRICS
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.reading import read_metrics
from trainers.checkpoints.store import UnreachableError
from trainers.config import plain
from trainers.plugins.loading import load_values
from trainers.resources.output import kept_output, log_file
from trainers.resources.peak_memory import noted_peak
from trainers.worker import CHECKPOINT, TRACEBACK, InlineContext, attempt, reserved_device


def run_trial(config: dict[str, Any]) -> None:
    """Tune's function: train, and end with a report that says how.

    Args:
        config: a `TrialRun` in its plain form, from LedgerSearcher.
    """
    from ray import tune

    folder = Path(config["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    inline = config["execution"]["engine"] == "inline"
    with kept_output(log_file(folder)) if inline else contextlib.nullcontext():
        load_values(config["trial"])
        run = TrialRun.parse(config)
        last = _tried(run)
    if STOPPED in last:
        tune.report(last)
        return
    if ERROR in last:
        last = {**_last_metrics(run.checkpoints), **last}
    else:
        last |= {FINAL: True, CHECKPOINT: checkpoints_at(run.checkpoints).of(last["iteration"])}
    tune.report(last)


def _tried(run: TrialRun) -> dict[str, Any]:
    """The last report of a trial, or how it failed.

    Raises:
        Exception: the trial may be started again: it has not raised this before, or another machine may do better.
    """
    folder = Path(run.folder)
    try:
        report_again(run.checkpoints)
        if run.execution.engine == "train":
            return run_train(run)
        with noted_peak(folder):
            return _run_inline(run)
    except UnreachableError as error:
        return {ERROR: f"{type(error).__name__}: {error}"}
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        if raised_before(folder, run.attempt, text) is None:
            raise
        return {ERROR: reason(Failure(text=text, starts=1, peak_mib=None)), TRACEBACK: text}


def _last_metrics(place: str) -> dict[str, Any]:
    """How far a trial came that failed, and what that cost, by its newest checkpoint."""
    with contextlib.suppress(UnreachableError):
        for last in checkpoints_at(place).whole((METRICS,)):
            return {**read_metrics(last), CHECKPOINT: last}
    return {}


def _run_inline(run: TrialRun) -> dict[str, Any]:
    from ray import tune

    folder, execution = Path(run.folder), run.execution
    context = InlineContext(
        folder, tune.report, requests=request_note(folder), place=run.checkpoints, device=reserved_device()
    )
    return attempt(
        plain(run.trial),
        context,
        execution.loader_workers,
        dataset=dataset_note(folder),
        checkpoint_every=Interval.read(execution.checkpoint_every),
        decoded=run.decoded,
        recording=run.recording,
    )


def trial_resources(capacity: ClusterCapacity) -> Callable[[dict[str, Any]], Any]:
    """What Tune is to reserve for the process of a trial, by the trial's configuration as `run_trial` gets it."""
    from ray.tune import PlacementGroupFactory

    by_engine = {engine: PlacementGroupFactory([capacity.trial_resources(engine)]) for engine in get_args(Engine)}
    return lambda config: by_engine[config["execution"]["engine"]]

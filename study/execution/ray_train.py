"""One trial as a Ray Train run: all that reaches behind Ray's public interface, which is why its version is pinned.

That is the classes of Ray Train's controller and worker group, which are replaced by ones that leave less running; the
identifier of a placement group, by which another process can give it back; the file where Tune notes why a trial
failed; the nodes that are about to be taken away; and the function by which Ray handles a driver's signals. What Ray
documents stays where it is used, also where its name begins with an underscore (`ray.init` takes `_temp_dir`) or where
it is a constant (`node:__internal_head__`, in capacity.py).
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from study.configuration.config import ExecutionConfig
from study.execution.recording.failures import Failure, raised_before, reason
from study.execution.report_keys import ERROR, PEAK
from study.folder import dataset_note, request_note
from study.ledger.trial_run import TrialRun
from trainers.checkpoints.manifest import METRICS
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.reading import read_reports
from trainers.config import TrialConfig, plain
from trainers.resources.peak_memory import read_noted_peak
from trainers.worker import CHECKPOINT, TRACEBACK, PermanentError, train_rank

PLACEMENT_GROUPS = "placement_groups.txt"
TRACEBACK_CHARACTERS = 100_000
"""Of what a worker raised, that Ray Train keeps; 1,000 by default."""


def report_again(place: str) -> None:
    """Report again what the checkpoints keep: of a trial that died, reports may be lost; duplicates are dropped."""
    from ray import tune

    checkpoints = checkpoints_at(place)
    reports: dict[int, dict[str, Any]] = {}
    # those of earlier versions keep one report each; whether weights are whole is for who goes on from them
    for checkpoint in checkpoints.whole((METRICS,)):
        reports = {int(report["iteration"]): report for report in read_reports(checkpoint)} | reports
    for iteration in sorted(reports):
        tune.report({**reports[iteration], CHECKPOINT: checkpoints.of(iteration)})


def run_train(run: TrialRun) -> dict[str, Any]:
    """Train a trial on Ray Train workers; the last report, or how it failed."""
    import ray.train

    folder = Path(run.folder)
    release(folder)
    forward = _forward_reports(run.checkpoints)
    arguments = train_arguments(run.execution, run.trial, folder, place=run.checkpoints, callbacks=[forward])
    arguments["train_loop_config"] |= {
        "dataset": str(dataset_note(folder)),
        "requests": str(request_note(folder)),
        "decoded": plain(run.decoded),
        "recording": plain(run.recording),
    }
    try:
        result = _trainer_class(folder, run.attempt)(**arguments).fit()
    except ray.train.WorkerGroupError as error:
        if permanent := permanent_error(error):
            return {ERROR: permanent.message, TRACEBACK: str(error), PEAK: permanent.peak_mib}
        # Ray Train has tried it as often as is allowed
        starts, peak = arguments["run_config"].failure_config.max_failures + 1, read_noted_peak(folder)
        why = reason(Failure(text=str(error), starts=starts, peak_mib=peak))
        return {ERROR: why, TRACEBACK: str(error), **({PEAK: peak} if peak else {})}
    finally:
        release(folder)
    return dict(result.return_value or {})


def permanent_error(error: object) -> PermanentError | None:
    """What any rank found that another start would only repeat; the others may have failed with it, in a collective."""
    failures = getattr(error, "worker_failures", {}).values()
    return next((failure for failure in failures if isinstance(failure, PermanentError)), None)


def train_arguments(
    execution: ExecutionConfig, trial: TrialConfig, folder: Path, *, place: str, callbacks: Sequence[Any] = ()
) -> dict[str, Any]:
    """What Ray's TorchTrainer needs to run a trial whose checkpoints lie at `place`, or to go on with it."""
    import ray.train

    # earlier versions let Ray Train keep the checkpoints, and it would insist on those that it knew
    (folder / "checkpoint_manager_snapshot.json").unlink(missing_ok=True)
    return {
        "train_loop_per_worker": train_rank,
        "train_loop_config": {
            "config": plain(trial),
            "folder": str(folder),
            "checkpoints": place,
            "loader_workers": execution.loader_workers,
            "checkpoint_every": execution.checkpoint_every,
        },
        "scaling_config": ray.train.ScalingConfig(
            num_workers=trial.train.workers,
            use_gpu=bool(execution.gpus_per_worker),
            resources_per_worker=execution.worker_resources,
            accelerator_type=execution.accelerator_type,
            placement_strategy=execution.placement,
        ),
        "run_config": ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=ray.train.FailureConfig(max_failures=execution.max_attempts - 1, controller_failure_limit=1),
            callbacks=list(callbacks),
        ),
    }


def _trainer_class(folder: Path, start: int) -> Any:
    """Ray's TorchTrainer with its controller in this process, without the callbacks that only cost processes.

    It does not try again what failed twice alike, and what its workers raise comes with the whole traceback.

    Args:
        folder: of the trial.
        start: how many drivers have started it.
    """
    from ray.exceptions import RayError
    from ray.train import WorkerGroupError
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import (
        PlacementGroupCleanerCallback,
    )
    from ray.train.v2._internal.exceptions import RayTrainError, WorkerGroupStartupTimeoutError
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
    from ray.train.v2._internal.execution.worker_group import WorkerGroup, poll

    poll.ERR_CHAR_LIMIT = TRACEBACK_CHARACTERS

    class NotedWorkerGroup(WorkerGroup):  # type: ignore[misc]
        def _create_placement_group(self, *arguments: Any) -> Any:
            handle = super()._create_placement_group(*arguments)
            with (folder / PLACEMENT_GROUPS).open("a") as file:
                file.write(f"{handle.placement_group.id.hex()}\n")
            return handle

    class NotedController(TrainController):  # type: ignore[misc]
        worker_group_cls = NotedWorkerGroup

    class PatientPolicy(DefaultFailurePolicy):  # type: ignore[misc]
        def make_decision(self, training_failed_error: Any) -> Any:
            # a node was lost, or others took the place; that a trial fits at all was seen before the first one
            if isinstance(getattr(training_failed_error, "controller_failure", None), WorkerGroupStartupTimeoutError):
                return FailureDecision.RETRY
            if permanent_error(training_failed_error):
                return FailureDecision.RAISE
            if isinstance(training_failed_error, WorkerGroupError) and _failed_before(training_failed_error):
                return FailureDecision.RAISE
            return super().make_decision(training_failed_error)

    def _failed_before(error: Any) -> bool:
        # where a worker was lost, what the others raise is its doing
        lost = any(isinstance(one, RayError | RayTrainError) for one in error.worker_failures.values())
        return not lost and raised_before(folder, start, str(error)) is not None

    class InProcessTrainer(TorchTrainer):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            unneeded = (DatasetsCallback, PlacementGroupCleanerCallback)
            found = super()._create_default_callbacks()
            return [callback for callback in found if not isinstance(callback, unneeded)]

        def _initialize_and_run_controller(self, **arguments: Any) -> Any:
            policy = PatientPolicy(self.run_config.failure_config)
            controller = NotedController(**{**arguments, "failure_policy": policy})
            try:
                asyncio.run(controller.run())
            finally:
                # Tune ends a stopped trial by SystemExit, and keeps this process for the next one
                group = controller._worker_group
                if group is not None and group.has_started():
                    group.abort()
            return controller.get_result()

    return InProcessTrainer


def _forward_reports(place: str) -> Any:
    """Hands rank 0's reports to Tune. Tune ends a stopped trial inside `tune.report`, by SystemExit."""
    from ray import tune
    from ray.train import UserCallback

    class ForwardReports(UserCallback):  # type: ignore[misc]
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            tune.report(metrics[0])

        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            # a worker may have died between its checkpoint and its report
            report_again(place)

    return ForwardReports()


def error_text(trial: Any) -> str:
    """What Tune has noted of a trial's failures, "" for nothing.

    `error_file` is an attribute of Tune's own. The public `trial.get_error` looks where Tune copies that file later,
    and finds nothing yet while callbacks hear of the failure.
    """
    return Path(trial.error_file).read_text() if trial.error_file else ""


def draining_nodes() -> set[str]:
    """Identifiers of the nodes that are about to be taken away: a cloud's notice, or `ray drain-node`.

    Ray Train's own `get_preemption_info` takes a process per trial and a barrier of all ranks at every look.
    """
    from ray._private.state import state

    return set(state.get_draining_nodes())


def release(folder: Path) -> None:
    """Give back what a trial's worker groups hold, and with it end their workers; may be called at any time."""
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    noted = folder / PLACEMENT_GROUPS
    with contextlib.suppress(FileNotFoundError):
        for line in noted.read_text().split():
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(line))))
        noted.unlink()


@contextmanager
def no_handlers_of_ray() -> Iterator[None]:
    """Keep Ray, as it starts, from putting its own handler of SIGTERM in the place of the driver's."""
    from ray._private import utils

    rays_own, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = rays_own

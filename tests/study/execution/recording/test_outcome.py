"""How a trial ended, as a table; and what of its run survives the way through Tune's configuration and the ledger."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from study.configuration.config import ExecutionConfig
from study.execution.recording.failures import Failure
from study.execution.recording.outcome import all_skipped, outcome
from study.ledger.ledger import LOST_DRIVERS, given_up_error
from study.ledger.trial_run import Suggestion, TrialRun
from tests.study.ledger.test_ledger import run_of
from trainers.config import TrainConfig
from trainers.distillation.objective import DivergedError

METRIC = "eval/miou_percent"
SCORED: dict[str, Any] = {METRIC: 20.0, "best/miou_percent": math.nan}
DIVERGED = f"{DivergedError.__name__}: kd/pixel is nan at iteration 7"
STARVED = Failure(text="the node running low on memory", starts=2, peak_mib=1234.4)
KILLED = Failure(text="killed by signal: Killed", starts=1, peak_mib=None)
LOST = Failure(
    text="ray.exceptions.ActorUnavailableError: The actor 0c0d is unavailable: The actor is temporarily unavailable: "
    "RpcError: RPC error: Socket closed rpc_code: 14. The task may or may not have been executed on the actor.",
    starts=1,
    peak_mib=None,
)
TWICE = "Failure # 1 (then)\nKeyError: 'a'\nFailure # 2 (now)\nTraceback\nValueError: b"
RAISED = Failure(text=TWICE, starts=2, peak_mib=1)
UNKNOWN = Failure(text="", starts=1, peak_mib=None)


@pytest.mark.parametrize(
    ("last", "failure", "state", "error"),
    [
        ({**SCORED, "final": True}, None, "COMPLETE", ""),
        (SCORED, None, "PRUNED", ""),
        ({**SCORED, "error": DIVERGED}, None, "FAIL", DIVERGED),
        ({"error": DIVERGED}, None, "FAIL", DIVERGED),
        # an error wins over the end of the budget
        ({**SCORED, "final": True, "error": DIVERGED}, None, "FAIL", DIVERGED),
        ({}, None, "FAIL", "eval/miou_percent must be finite, but got None"),
        ({METRIC: None, "final": True}, None, "FAIL", "eval/miou_percent must be finite, but got None"),
        ({METRIC: math.nan}, None, "FAIL", "eval/miou_percent must be finite, but got nan"),
        ({METRIC: math.inf, "final": True}, None, "FAIL", "eval/miou_percent must be finite, but got inf"),
        ({}, STARVED, "FAIL", "OutOfMemory: Ray ended its process at the last of 2 starts because the machine ran low"),
        (SCORED, KILLED, "FAIL", "Killed: its process was killed, which is what a system does that has no memory left"),
        (SCORED, LOST, "FAIL", "Killed: its process was killed, which is what a system does that has no memory left"),
        (SCORED, RAISED, "FAIL", "ValueError: b"),
        # what its processes did wins over what was reported before
        ({**SCORED, "final": True}, UNKNOWN, "FAIL", "no reason is known"),
    ],
)
def test_every_way_to_end(last: dict[str, Any], failure: Failure | None, state: str, error: str) -> None:
    found, why = outcome(last, metric=METRIC, failure=failure)
    assert found.name == state
    assert (why is None) == (error == "") and (why or "").startswith(error)


def test_the_score_is_the_one_that_the_study_maximises() -> None:
    state, error = outcome({**SCORED, "final": True}, metric="best/miou_percent")
    assert (state.name, error) == ("FAIL", "best/miou_percent must be finite, but got nan")


@pytest.mark.parametrize(("starts", "given_up"), [(1, False), (LOST_DRIVERS - 1, False), (LOST_DRIVERS, True)])
def test_a_trial_over_which_drivers_die_in_a_row_is_given_up(starts: int, given_up: bool) -> None:
    error = given_up_error(starts)
    assert (error is not None) == given_up
    assert error is None or f"died {LOST_DRIVERS} times in a row without a new checkpoint" in error


def run() -> TrialRun:
    values = {"methods/kd/temperature": 4.0, "task/combine": "or", "n": 2}
    return replace(
        run_of(Suggestion(arm="kd", number=3, attempt=2, values=values, retry_of=1)),
        execution=ExecutionConfig(gpus_per_worker=0.5),
        folder="/study/trials/kd-00003",
        checkpoints="s3://bucket/kd-00003",
    )


def test_a_run_crosses_the_borders_of_processes_whole() -> None:
    assert TrialRun.parse(json.loads(json.dumps(run().plain()))) == run()
    # Tune adds keys of its own to a configuration
    assert TrialRun.parse({**run().plain(), "__trial_info__": object()}) == run()


def test_a_run_that_an_earlier_version_noted_is_read() -> None:
    """It knew neither retries nor other places for checkpoints than the trial's folder."""
    noted = {name: value for name, value in run().plain().items() if name not in ("retry_of", "checkpoints")}
    found = TrialRun.parse(noted)
    assert (found.retry_of, found.checkpoints) == (None, "/study/trials/kd-00003")


@pytest.mark.parametrize(
    ("iteration", "skipped", "said"),
    [(6, 3, True), (7, 1, True), (6, 2, False), (7, 0, False)],
)
def test_a_trial_that_skipped_every_step_is_told_of(iteration: int, skipped: int, said: bool) -> None:
    train = TrainConfig(iterations=7, batch=2, evaluate_every=3)
    report = {"iteration": iteration, "train/skipped_steps": skipped, "train/loss_scale": 0.0625}
    told = all_skipped(train, report)
    assert (told is not None) == said
    assert not told or (
        f"any of the {skipped} steps before iteration {iteration}" in told and "scale is 0.0625" in told
    )
    assert all_skipped(train, {"iteration": iteration}) is None

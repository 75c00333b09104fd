"""The process that stands for a trial while a study is planned: it says what the trial takes, waits, and is timed.

It imports what the process of a trial does, because that is most of the memory of a small one. Requests come as a line
of JSON on standard input, and answers go as lines of JSON to what was standard output; all else that is printed goes to
standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import psutil
import ray.tune  # noqa: F401
import torch

import study.execution.trial  # noqa: F401
from study.execution.planning.answers import (
    DO,
    ERROR,
    IMPORT_S,
    LACKS,
    MEMORY,
    REPORT,
    STEPS,
    TIME_STEPS,
    TIMES,
    TRAIN,
)
from study.execution.pricing import measured_steps
from trainers.config import TrialConfig, parse
from trainers.context import LocalContext
from trainers.costs.trial import TrialMemory, measure
from trainers.data.decoded.plan import DecodedPlan
from trainers.plugins.content import named_plugins
from trainers.plugins.loading import load_values
from trainers.resources.memory import lacked_memory, limit_to_share
from trainers.resources.peak_memory import peak_mib
from trainers.worker import attempt


def main() -> None:
    """Answer one request."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_s = time.time() - psutil.Process().create_time()
    request = {**json.loads(sys.stdin.readline()), IMPORT_S: import_s}
    answer(request, sys.stdin, answers)


def answer(request: Mapping[str, Any], requests: TextIO, answers: TextIO) -> None:
    """Do what a request asks, and write what comes out of it.

    Args:
        request: "do", which is to measure a trial, to train it to its end, or to time the steps of several alone;
            "trial" in its plain form, or "trials" by name with "teacher" and "plugins"; "folder", "loader_workers",
            "gpu_share", which is 0 on the CPU, and "import_s" of this process.
        requests: where a line comes when the time of a trial is to be measured.
        answers: where the answers go.
    """

    def say(found: Mapping[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    device = torch.device("cuda" if request["gpu_share"] else "cpu")
    try:
        limit_to_share(device, request["gpu_share"])
        if request[DO] == TRAIN:
            say(_trained(request, device))
        elif request[DO] == TIME_STEPS:
            say(_timed(request, device))
        else:
            say(_measured(request, device, requests, say))
    except Exception as error:  # noqa: BLE001  # whatever an arm's own code raises is that arm's fault
        memory = lacked_memory(error)
        peak = peak_mib(torch.device("cpu") if memory == "host" else device)
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        say({ERROR: text, LACKS: memory, "peak_mib": peak})


def _measured(
    request: Mapping[str, Any], device: torch.device, requests: TextIO, say: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    load_values(request["trial"])
    folder = Path(request["folder"])

    def begin(found: TrialMemory) -> None:
        say({MEMORY: asdict(found), IMPORT_S: request[IMPORT_S]})
        if not requests.readline():  # nobody waits any more
            raise SystemExit

    times = measure(
        parse(TrialConfig, request["trial"]),
        LocalContext(folder, device=device),
        loader_workers=request["loader_workers"],
        decoded=DecodedPlan(folder=str(folder / "decoded")),
        begin=begin,
    )
    return {TIMES: asdict(times)}


def _timed(request: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    plugins = named_plugins(request)
    return {STEPS: measured_steps(request["trials"], request["teacher"], plugins, device.type == "cuda")}


def _trained(request: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    context = LocalContext(Path(request["folder"]), device=device)
    decoded = DecodedPlan(folder=str(context.folder / "decoded"))
    report = attempt(request["trial"], context, request["loader_workers"], decoded=decoded)
    return {ERROR: report[ERROR], LACKS: None} if ERROR in report else {REPORT: report}

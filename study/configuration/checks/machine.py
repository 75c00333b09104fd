"""What a study asks of machines: what its engine can do, and what this machine has.

A study may be checked here and run elsewhere, so what this machine lacks is warned of; where a study starts, the
cluster is asked (`study.execution.capacity`).
"""

import os
import shutil
from collections.abc import Iterable

import torch

from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import ExecutionConfig
from trainers.config import TrainConfig, TrialConfig
from trainers.resources.gpu import has_bfloat16, no_bfloat16
from trainers.resources.processors import usable_cpus

HALVES = {"bfloat16": "bf16", "float16": "fp16"}
"""How the names end that PyTorch has for a CPU's arithmetic of a precision."""


def check_execution(execution: ExecutionConfig) -> Iterable[Finding]:
    """What a worker reserves exists."""
    gpus = execution.gpus_per_worker
    if gpus > 1 and gpus != int(gpus):
        yield fault(
            f"execution.gpus_per_worker: above 1 it must be a whole number, but got {gpus:g}; give {int(gpus)} or "
            f"{int(gpus) + 1}"
        )
    if execution.accelerator_type is not None and not gpus:
        yield fault(
            f"execution.accelerator_type: {execution.accelerator_type} is a GPU, but got gpus_per_worker=0; set "
            "execution.gpus_per_worker, or leave accelerator_type out"
        )


def check_workers(train: TrainConfig, execution: ExecutionConfig) -> Iterable[Finding]:
    """What trials of several workers need that others do not."""
    workers = train.workers
    if workers == 1:
        return
    if execution.engine == "inline":
        yield fault(
            f"execution.engine: inline trials have one worker, but got train.workers={workers}; set engine: train"
        )
    if 0 < execution.gpus_per_worker < 1:
        yield fault(
            "execution.gpus_per_worker: a share of a GPU is for trials of one worker, because NCCL refuses two ranks "
            f"on one GPU, but got {execution.gpus_per_worker:g} and train.workers={workers}; give each worker 1 GPU, "
            "or set train.workers to 1"
        )


def check_machine(workers: int, execution: ExecutionConfig) -> Iterable[Finding]:
    """This machine has what one trial reserves."""
    asked = {"GPUs": workers * execution.gpus_per_worker, "CPUs": workers * execution.cpus_per_worker}
    here = {"GPUs": torch.cuda.device_count(), "CPUs": usable_cpus()}
    for kind, count in asked.items():
        if count > here[kind]:
            field = f"execution.{kind.lower()}_per_worker"
            yield warning(
                f"{field}: a trial asks for {count:g} {kind} ({workers} workers), and this machine has {here[kind]}; "
                f"start the study on a cluster that has them, or lower {field}"
            )


def check_precision(train: TrainConfig, execution: ExecutionConfig) -> Iterable[Finding]:
    """What trains in half precision can compute in it."""
    name = HALVES.get(train.precision)
    if name is None:
        return
    if execution.gpus_per_worker:
        yield from _check_gpus(train)
        return
    able = [feature for feature, there in torch.cpu.get_capabilities().items() if there and feature.endswith(name)]
    if not able:
        yield warning(
            f"train.precision: this machine's CPU does not compute in {train.precision}, and PyTorch would stand in "
            "for it, ten times slower than float32 and more; set train.precision to float32, or give workers GPUs"
        )


def _check_gpus(train: TrainConfig) -> Iterable[Finding]:
    """Those of this machine; a trial on another's is refused there."""
    for index in range(torch.cuda.device_count()):
        if train.precision == "bfloat16" and not has_bfloat16(index):
            yield warning(no_bfloat16(index))
            return


def check_compile(trial: TrialConfig, execution: ExecutionConfig) -> Iterable[Finding]:
    """What torch.compile makes for a CPU can be built: it is C++."""
    asked = [path for path, part in (("train", trial.train), ("teacher", trial.teacher)) if part and part.compile]
    compilers = (os.environ.get("CXX", "g++"), "c++", "clang++")
    if asked and not execution.gpus_per_worker and not any(map(shutil.which, compilers)):
        yield warning(
            f"{asked[0]}.compile: torch.compile needs a C++ compiler for a CPU, and this machine has no "
            f"{', '.join(compilers)}; install one, or leave {asked[0]}.compile out"
        )

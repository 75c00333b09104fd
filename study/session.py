"""Ray as a study needs it: its settings, a cluster to join or to start, and whether a trial fits on it."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from study.config import ExecutionConfig
from study.stopping import HaltedError

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "1800",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # a report waits for the controller to look: every 2 s by default
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # a trial that fails before its first evaluation has no metric to report; Tune would end the study for that
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # the driver handles Ctrl-C: study/stopping.py
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # a stopped trial's process is reused once its workers are gone
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "10",
}
"""Read by Ray in the driver, in trials and in workers; a value set outside wins."""

DRIVER = "trial_driver"
"""The resource that the process of a trial takes, so that it never takes a CPU from its own workers."""
HEAD = "node:__internal_head__"
PLENTY = 10_000
STORE_BYTES = 150_000_000
START_TRIES = 3
TIMED_OUT = "timed out during startup"
"""What Ray says where a machine has so much to do that a node does not start within half a minute."""


def refuse_client(address: str) -> None:
    """Raise ValueError for what is no address of a cluster that this process can join."""
    if address.startswith("ray://"):
        raise ValueError(
            f"--address must be auto, local or host:port, but got {address}, Ray's client protocol, which would run "
            "the driver without its ledger; submit it to the cluster instead: "
            "ray job submit --working-dir . -- kdstudy run STUDY"
        )
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdigit()):
        raise ValueError(f"--address must be auto, local or host:port, but got {address!r}; for example 10.0.0.1:6379")


@contextmanager
def connected(execution: ExecutionConfig, address: str) -> Iterator[None]:
    """A Ray cluster: one of this machine's own for "local", else the one at `address`.

    Raises:
        ValueError: no such cluster.
        HaltedError: none could be started here.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(execution.start_timeout_s))
    import ray

    scratch = tempfile.mkdtemp(prefix="kd")
    try:
        if address == "local":
            _start(ray, scratch)
        else:
            _join(ray, address)
        for name in ("ray", "ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _start(ray: Any, scratch: str) -> None:
    for _ in range(START_TRIES):
        try:
            _start_node(ray, scratch)
        except Exception as error:  # Ray raises nothing narrower
            if TIMED_OUT not in str(error):
                raise
            ray.shutdown()
        else:
            return
    raise HaltedError(
        f"Ray did not start within half a minute, at any of {START_TRIES} tries: this machine has too much to do; give "
        "the same command again when it has less"
    )


def _start_node(ray: Any, scratch: str) -> None:
    ray.init(
        address="local",
        num_cpus=len(os.sched_getaffinity(0)),
        resources={DRIVER: PLENTY},
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=scratch,
    )


def _join(ray: Any, address: str) -> None:
    settings = {name: os.environ[name] for name in (*SETTINGS, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S")}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": settings},
        )
    except ConnectionError as error:
        raise ValueError(
            f"--address must be a running Ray cluster, but {address} is none: {error}; start one with `ray start "
            "--head`, or use --address local"
        ) from None


def trial_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What Tune reserves for a trial's own process; Ray Train reserves its workers' share itself."""
    import ray

    # drivers stay on the head node of a cluster that has no resource for them
    driver = {DRIVER: 1.0} if DRIVER in ray.cluster_resources() else {HEAD: 0.001}
    if execution.engine == "train":
        return driver
    return {**execution.worker_resources, **driver}


def concurrency(execution: ExecutionConfig, workers: int) -> int:
    """How many trials of so many workers run at a time.

    Raises:
        ValueError: not one trial fits on the cluster.
    """
    import ray

    cluster = ray.cluster_resources()
    room = int(cluster.get("CPU", 0) / (workers * execution.cpus_per_worker))
    if execution.gpus_per_worker:
        room = min(room, int(cluster.get("GPU", 0) / (workers * execution.gpus_per_worker)))
    if room < 1:
        raise ValueError(
            f"a trial must fit on the cluster, but needs {workers} workers with {execution.cpus_per_worker:g} CPUs and "
            f"{execution.gpus_per_worker:g} GPUs each, and there are {cluster.get('CPU', 0):g} CPUs and "
            f"{cluster.get('GPU', 0):g} GPUs; lower train.workers or execution.cpus_per_worker, or add nodes"
        )
    return min(room, execution.concurrent or room)

"""Ray as a study needs it: its settings, and a cluster to join or to start."""

import atexit
import functools
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

from study import ROOT
from study.configuration.config import ExecutionConfig
from study.execution.capacity import DRIVER, MAX_CONCURRENT
from study.execution.local_ray.scratch import scratch_folder
from study.execution.local_ray.watchdog import watching
from study.execution.ray_train import no_handlers_of_ray
from study.execution.stopping import HaltedError
from study.execution.submission import PACKAGES, refuse_foreign_packages, submitted
from trainers.resources.processors import usable_cpus

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "1800",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # a report waits for the controller to look: every 2 s by default
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # it would print everything a second time, into what a trial keeps of its output
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # a trial that fails before its first evaluation has no metric to report; Tune would end the study for that
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # the driver handles Ctrl-C: study/execution/stopping.py
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # a stopped trial's process is reused once its workers are gone
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "10",
}
"""Read by Ray in the driver, in trials and in workers; a value set outside wins."""

TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
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
            "ray job submit --working-dir . -- python -m study run STUDY --out /shared/STUDY"
        )
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdigit()):
        raise ValueError(f"--address must be auto, local or host:port, but got {address!r}; for example 10.0.0.1:6379")


@contextmanager
def connected(
    execution: ExecutionConfig,
    address: str,
    *,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    advice: str = "give the same command again",
) -> Iterator[None]:
    """A Ray cluster: one of this machine's own for "local", else the one at `address`.

    Args:
        execution: of the study.
        address: "local", "auto" or host:port.
        say: shows a line to the user.
        advice: how to go on where the cluster is lost.

    Raises:
        ValueError: no such cluster, or TMPDIR is too long a path and no shorter one can be had.
        HaltedError: none could be started here.
        KeyboardInterrupt: a signal came while Ray started.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(execution.start_timeout_s))
    own_token = address == "local" and not any(name in os.environ for name in TOKENS)
    if own_token:
        os.environ["RAY_AUTH_TOKEN_PATH"] = _own_token()
    say("starting Ray ..." if address == "local" else f"joining the Ray cluster at {address} ...")
    with signals_held():
        import ray

    try:
        refuse_foreign_packages()
        with ExitStack() as stack:
            if address == "local":
                scratch = stack.enter_context(scratch_folder(say))
                stack.callback(ray.shutdown)
                with _signals_kept(), _among_own_packages(scratch):
                    _start(ray, str(scratch))
                stack.enter_context(watching(advice))
            else:
                links = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd")))
                stack.callback(ray.shutdown)
                _warn_of_readers()
                with _signals_kept(), _among_own_packages(links):
                    _join(ray, address)
            for name in ("ray", "ray.tune", "ray.train"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            yield
    finally:
        if own_token:
            del os.environ["RAY_AUTH_TOKEN_PATH"]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Hold SIGTERM and Ctrl-C back while Ray starts, which would put handlers of its own in the place of these.

    Raises:
        KeyboardInterrupt: at the end, where one has come.
    """
    with signals_held(), no_handlers_of_ray():
        yield


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGTERM and Ctrl-C back, and act on them after that.

    What a handler raises while Python forks a process, or while a module in C is imported, is lost, or shown as a
    traceback.

    Raises:
        KeyboardInterrupt: at the end, where one has come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda one, _: came.append(one)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _among_own_packages(scratch: Path) -> Iterator[None]:
    """Work in a folder that holds our packages and nothing else.

    Ray puts the directory in which a driver calls it first on the path of all workers, where a folder of the user's
    that has one of our names would win.
    """
    place = scratch / "packages"
    place.mkdir()
    for name in PACKAGES:
        (place / name).symlink_to(ROOT / name, target_is_directory=True)
    with chdir(place):
        yield


@functools.cache
def _own_token() -> str:
    """A token for the clusters that this process starts, in a file that only this user can read.

    Whoever has it may run code on them. Ray would keep one for all clusters, in ~/.ray/auth_token, for everyone
    to read. This one is the process's, because Ray reads it once.
    """
    place = Path(tempfile.mkdtemp(prefix="kd"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    token = place / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return str(token)


def _warn_of_readers() -> None:
    """Say so where others can read the token of a cluster."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if "RAY_AUTH_TOKEN" not in os.environ and token.exists() and token.stat().st_mode & 0o077:
        warnings.warn(
            f"others can read {token}, and whoever has it may run code on the cluster; close it: chmod 600 {token}",
            stacklevel=2,
        )


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
        num_cpus=usable_cpus(),
        resources={DRIVER: MAX_CONCURRENT},
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=scratch,
    )


def _join(ray: Any, address: str) -> None:
    settings = {name: os.environ[name] for name in (*SETTINGS, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S")}
    packages = [str(ROOT / name) for name in ("search_spaces", "study", "trainers")]
    # every node runs this driver's own code, whatever is installed there; a submitted job has been sent with it
    code = {} if submitted() else {"py_modules": packages}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": settings, **code},
        )
    except ConnectionError as error:
        raise ValueError(
            f"--address must be a running Ray cluster, but {address} is none: {error}; start one with `ray start "
            "--head`, or use --address local"
        ) from None

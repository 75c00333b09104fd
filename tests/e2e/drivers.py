"""The command line in processes of its own, or in this one, and what runs below them."""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psutil

from study.__main__ import main
from tests.study.conftest import ray_environment

ENVIRONMENT = ray_environment()
TRIAL, WORKER = "ray::ImplicitFunc", "RayTrainWorker"
"""What is in the command lines of a trial's own process, and of a worker of Ray Train."""
ENOUGH_S = 600.0
"""For what has to happen by itself, on a machine that has much else to do; no test that passes waits for it."""
_STARTED: "list[subprocess.Popen[str]]" = []


def kdstudy(*arguments: object, cwd: Path) -> Any:
    command = [sys.executable, "-m", "study", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, check=False, timeout=2 * ENOUGH_S
    )


def in_process(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """A command that starts no Ray, in this process, which need not import for seconds what it has already."""
    out, error = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(error):
        code = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def driver(*arguments: object, cwd: Path, environment: Mapping[str, str] = ENVIRONMENT) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "study", *map(str, arguments)]
    _STARTED.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment))
    return _STARTED[-1]


def end_drivers() -> None:
    """Kill those that a test which failed has left; their clusters end with them."""
    while _STARTED:
        with _STARTED.pop() as started:
            started.kill()


def eventually(condition: Callable[[], object], *, what: str, seconds: float = ENOUGH_S) -> None:
    deadline = time.monotonic() + seconds
    while not _holds(condition, least_s=0.1):
        assert time.monotonic() < deadline, what


def wait_while_alive(started: "subprocess.Popen[str]", condition: Callable[[], object]) -> bool:
    """Wait until a condition holds; False where the driver ended before."""
    while started.poll() is None:
        if _holds(condition, least_s=0.005):
            return True
    return False


def _holds(condition: Callable[[], object], *, least_s: float) -> bool:
    """Whether a condition holds; where not, after a pause.

    To look at all processes takes hundredths of a second, and would take a whole core from what is waited for.
    """
    before = time.thread_time()
    if condition():
        return True
    time.sleep(max(least_s, 10 * (time.thread_time() - before)))
    return False


def below(pid: int, name: str) -> list[psutil.Process]:
    """Processes below `pid` whose command line has this in it."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended; the dead ones of a container may wait for ever to be collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def of_this_study(pid: int) -> list[psutil.Process]:
    """Processes of the cluster that the driver `pid` started; it names its session folder after itself."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"_{pid}/" in part for part in process.info["cmdline"] or ())
    ]

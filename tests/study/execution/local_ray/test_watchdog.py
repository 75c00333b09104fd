"""The end of a driver whose Ray has lost its control process."""

import subprocess
import sys
import time

import psutil
import pytest

SCRIPT = """
import psutil, subprocess, sys, time
from study.execution.local_ray import watchdog
watchdog.LOOK_EVERY_S = 0.01
watchdog.GCS = "sleep"
looks, alive = [], watchdog._alive
watchdog._alive = lambda process: looks.append(process) or alive(process)
control = subprocess.Popen(["sleep", "600"])
while psutil.Process(control.pid).name() != "sleep":  # the kernel names it a moment after it runs
    pass
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(other.pid, flush=True)
with watchdog.watching("go on with: kdstudy resume X"):
    if sys.argv[1] != "is silent":
        control.kill()
    while sys.argv[1] == "dies":
        print("still at work", file=sys.stderr, flush=True)
    if sys.argv[1] == "dies before the end":
        control.wait()
        raise ValueError("which has lost its control process")
    control.send_signal(19)  # SIGSTOP: silent, but alive
    enough = len(looks) + 5
    while len(looks) < enough:
        time.sleep(0.001)
control.kill()
other.kill()
"""


def run(what: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", SCRIPT, what], capture_output=True, text=True, timeout=600)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # where nobody collects orphans
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("what", ["dies", "dies before the end"])
def test_the_death_of_the_control_process_ends_the_driver_and_all_it_started(what: str) -> None:
    done = run(what)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "kdstudy: Ray's control process (sleep) has ended; nothing is lost: go on with: kdstudy resume X"
    )
    until = time.monotonic() + 600
    while alive(int(done.stdout)):
        assert time.monotonic() < until


def test_silence_is_no_death() -> None:
    done = run("is silent")
    assert (done.returncode, done.stderr) == (0, "")

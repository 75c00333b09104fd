"""Whatever ends its drivers, SIGKILL where it hurts or Ctrl-C, a study comes to the tables of one left alone."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.local_ray.watchdog import GCS
from tests.e2e.drivers import (
    ENOUGH_S,
    WORKER,
    below,
    driver,
    eventually,
    in_process,
    kdstudy,
    of_this_study,
    wait_while_alive,
)
from tests.e2e.studies import TRIALS, assert_consistent, assert_same_study, checkpoints, journal, tear_journal

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3600), pytest.mark.xdist_group("undisturbed")]


def lock_text(folder: Path) -> str:
    path = folder / "study.lock"
    return path.read_text() if path.exists() else ""


def test_killed_stopped_and_killed_again_to_the_last_end(whole: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Its teacher is a Ray Train run here, its trials are not; which engine trains changes nothing."""
    folder = tmp_path / "run"
    resume, advice = ("resume", folder), f"go on with: kdstudy resume {folder}"

    def lines(count: int) -> Callable[[], bool]:
        already = journal(folder).count(b"\n")
        return lambda: journal(folder).count(b"\n") >= already + count

    def reported(count: int) -> Callable[[], bool]:
        return lambda: journal(folder).count(b'"intermediate_value":') >= count

    def kill_when(condition: Callable[[], object], *command: object, or_ended: bool = False) -> None:
        started = driver(*command, cwd=tmp_path)
        reached = wait_while_alive(started, condition)
        started.kill()
        _, said = started.communicate()
        assert (reached or (or_ended and started.returncode == 0)) and "Traceback" not in said, said

    otherwise = ("--set=execution.engine=auto", "--set=execution.decoded_images=off")
    kill_when(lambda: (folder / "study.json").exists(), "run", whole, *otherwise, "--out", folder)
    kill_when(lines(1), *resume)  # twice in a row, before anything is trained

    started = driver(*resume, cwd=tmp_path)
    # the file is there a moment before the driver has locked it and written its name
    assert wait_while_alive(started, lambda: f'"pid": {started.pid}' in lock_text(folder)), started.communicate()
    second = driver(*resume, cwd=tmp_path)  # beside the first, which goes on
    assert wait_while_alive(started, lambda: below(started.pid, WORKER)), started.communicate()
    assert wait_while_alive(started, lambda: checkpoints(folder)), started.communicate()
    _, refused = second.communicate(timeout=ENOUGH_S)
    assert second.returncode == 2 and f"process {started.pid}" in refused
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and advice in said and "Traceback" not in said, said
    eventually(lambda: not of_this_study(started.pid), what="processes are left after Ctrl-C")

    started = driver(*resume, cwd=tmp_path)
    assert wait_while_alive(started, reported(6)), started.communicate()
    (control,) = below(started.pid, GCS)
    control.kill()  # and Ray can do nothing any more
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and said.splitlines()[-1].endswith(advice), said
    eventually(lambda: not of_this_study(started.pid), what="processes are left without control")
    kill_when(reported(12), *resume)  # between the ledger and the table
    tear_journal(folder, '{"op_code": 5, "worker')
    # its last end is noted, but not told; a driver that is not seen for that second is through
    kill_when(lambda: journal(folder).count(b'"row":') == TRIALS, *resume, or_ended=True)
    done = kdstudy(*resume, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_consistent(folder)
    assert_same_study(folder, undisturbed)
    counts = json.loads(in_process("status", folder, "--json", cwd=tmp_path).stdout)
    assert not any(arm["RUNNING"] or arm["INTERRUPTED"] or arm["WAITING"] for arm in counts.values())
    assert not (folder / "tune").exists() and not list(folder.glob("tables/*/*.arrows"))

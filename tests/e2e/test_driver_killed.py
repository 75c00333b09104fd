"""The driver is killed with SIGKILL where it hurts: the study comes to the tables of one that was left alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.local_ray.watchdog import GCS
from tests.e2e.drivers import ENOUGH_S, below, driver, eventually, kdstudy, of_this_study, wait_while_alive
from tests.e2e.studies import TRIALS, assert_same_study, journal, tear_journal

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]


def test_killed_at_the_start_in_a_report_and_at_the_last_end(whole: Path, undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"

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

    live = "--set=execution.decoded_images=off"  # which the other study has on
    kill_when(lambda: (folder / "study.json").exists(), "run", whole, live, "--out", folder)
    resume = ("resume", folder)
    kill_when(lines(1), *resume)  # twice in a row, before anything is trained
    kill_when(reported(1), *resume)  # between the ledger and the table, as the teacher trains
    started = driver(*resume, cwd=tmp_path)
    assert wait_while_alive(started, reported(6)), started.communicate()
    (control,) = below(started.pid, GCS)
    control.kill()  # and Ray can do nothing any more
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and said.splitlines()[-1].endswith(f"go on with: kdstudy resume {folder}")
    eventually(lambda: not of_this_study(started.pid), what="processes are left without control")
    kill_when(reported(12), *resume)
    tear_journal(folder, '{"op_code": 5, "worker')
    # its last end is noted, but not told; a driver that is not seen for that second is through
    kill_when(lambda: journal(folder).count(b'"row":') == TRIALS, *resume, or_ended=True)
    done = kdstudy(*resume, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same_study(folder, undisturbed)
    counts = json.loads(kdstudy("status", folder, "--json", cwd=tmp_path).stdout)
    assert not any(arm["RUNNING"] or arm["INTERRUPTED"] or arm["WAITING"] for arm in counts.values())
    assert not (folder / "tune").exists() and not list(folder.glob("tables/*/*.arrows"))

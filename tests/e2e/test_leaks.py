"""What a study leaves behind on a cluster that outlives it, and how its driver grows."""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.cluster import LocalCluster, local_cluster
from tests.e2e.drivers import ENOUGH_S, TRIAL, WORKER, below, driver, eventually, wait_while_alive
from tests.e2e.studies import INLINE, SMALL, trial_rows
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
GROWTH_MIB = 50
OF_RAY = "_AutoscalingCoordinatorActor"
"""Ray Train starts one for all runs on a cluster, and means it to outlive them: it asks the autoscaler for nodes."""


WILD = {"train/optimizer/lr": {"type": "categorical", "choices": [1e30], "default": 1e30}}


def study(execution: dict[str, Any], trials: int) -> dict[str, Any]:
    """Short trials of which some are stopped early, and of other arms one each that diverges.

    After its first evaluation, and on no Ray Train worker, which takes seconds to start, also before that.
    """
    arms: dict[str, Any] = {
        "baseline": {"trials": trials, "space": "optimizer"},
        "wild": {"trials": 1, "space": "wild.yaml"},
    }
    if execution is INLINE:
        arms["wilder"] = {**arms["wild"], "fixed": {"train/evaluate_every": 4}}
    return tiny(
        **SMALL,
        train__iterations=4,
        train__evaluate_every=1,
        arms=arms,
        execution={**execution, "max_failed": 1},
        pruning={"reduction_factor": 2, "grace_iterations": 1},
    )


def resident_mib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def grown_mib(folder: Path, started: Any, *, first: int, last: int) -> float:
    """By how much a driver grew from the start of its trial `first` to that of its trial `last`."""
    held = []
    for number in (first, last):
        begun = folder / "trials" / f"baseline-{number:05}"
        assert wait_while_alive(started, begun.is_dir), started.communicate()
        held.append(resident_mib(started.pid))
    return held[1] - held[0]


def left(cluster: LocalCluster) -> set[str]:
    """Actors and placement groups that live, CPUs in use, trial processes, orphaned segments of shared memory."""
    (node,) = cluster.nodes
    processes = [process.name() for name in (TRIAL, WORKER) for process in below(node.pid, name)]
    names = {name for names in cluster.left().values() for name in names} - {OF_RAY}
    return {*names, *processes, *orphaned_segments()}


def orphaned_segments() -> set[str]:
    """Segments of shared memory that no process maps; whatever else runs on this machine maps its own."""
    mapped = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it ended meanwhile
            mapped |= set(re.findall(r"/dev/shm/(\S+)", maps.read_text()))
    return {path.name for path in Path("/dev/shm").iterdir()} - mapped


def assert_diverged(folder: Path) -> set[str]:
    """A trial that diverged is a row that says why, with as much as was measured of it; the arms of such trials."""
    rows = {row["arm"]: row for row in trial_rows(folder) if row["arm"] != "baseline"}
    for arm, row in rows.items():
        assert row["state"] == "FAIL" and row["error"].startswith("DivergedError: every term must stay finite, but ")
        explained = (folder / row["error_file"]).read_text()
        assert "DivergedError: every term must" in explained and "in check_finite" in explained
        assert row["iterations"] == (1 if arm == "wild" else 0) and row["peak_memory_mib"] > 0
    return set(rows)


def run_all(tmp_path: Path, record: Callable[[str, object], None], *, inline: int, train: int) -> None:
    write_study(tmp_path, WILD, "wild.yaml")
    with local_cluster(0, 2) as cluster:
        before = left(cluster)
        by_train = {"engine": "train", "concurrent": 2}
        for name, execution, trials in (("inline", INLINE, inline), ("train", by_train, train)):
            file = write_study(tmp_path, study(execution, trials), f"{name}.yaml")
            folder = tmp_path / name
            command = ("run", file, "--out", folder, "--address", cluster.address)
            started = driver(*command, cwd=tmp_path, environment=cluster.driver_environment)
            grown = grown_mib(folder, started, first=1, last=trials - 1)
            _, said = started.communicate(timeout=ENOUGH_S)
            assert started.returncode == 1 and "Traceback" not in said, said
            record(f"driver_grown_mib_{name}", round(grown, 1))
            assert grown < GROWTH_MIB
            diverged = assert_diverged(folder)
            assert diverged == ({"wild", "wilder"} if execution is INLINE else {"wild"})
            for arm in diverged:
                assert f"{arm}: given up after 1 failed trial (execution.max_failed)\n" in said, said
            states = Counter(row["state"] for row in trial_rows(folder) if row["arm"] == "baseline")
            assert states["COMPLETE"] and not states["FAIL"]
            # of trials that run side by side the worse one may reach every rung first, where nothing stops it
            assert states["PRUNED"] or execution is by_train
            eventually(lambda: left(cluster) <= before, what=f"left: {left(cluster) - before}")


def test_a_study_leaves_nothing_behind(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    run_all(tmp_path, record_testsuite_property, inline=8, train=3)


@pytest.mark.stress
def test_a_long_study_leaves_nothing_behind(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    run_all(tmp_path, record_testsuite_property, inline=50, train=6)

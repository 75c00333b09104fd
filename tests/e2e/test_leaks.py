"""What a study leaves behind on a cluster that outlives it, and how its driver grows."""

from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.cluster import RunningCluster, running
from tests.e2e.faults import INLINE, SMALL, below, wait_while_alive
from tests.e2e.test_study import ENVIRONMENT, driver, eventually, trial_rows
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
GROWTH_MIB = 50
NOTHING: dict[str, Any] = {"actors": [], "groups": [], "taken": []}


def study(execution: dict[str, Any], trials: int) -> dict[str, Any]:
    """Short trials of which some are stopped early, and two of another arm that diverge."""
    arms = {
        "baseline": {"trials": trials, "space": "optimizer"},
        "wild": {"trials": 2, "space": "wild.yaml"},
    }
    return tiny(
        **SMALL,
        train__iterations=4,
        train__evaluate_every=1,
        arms=arms,
        execution={**execution, "max_failed": 2},
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


def assert_leaves_nothing(cluster: RunningCluster, before: set[str]) -> None:
    eventually(lambda: cluster.left() == NOTHING, seconds=60, what=f"left on the cluster: {cluster.left()}")
    trials = [p.pid for raylet in cluster.raylets for p in below(raylet, "ray::ImplicitFunc")]
    workers = [p.pid for raylet in cluster.raylets for p in below(raylet, "RayTrainWorker")]
    assert trials + workers == []
    assert segments() - before == set()


def segments() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def run_all(tmp_path: Path, *, inline: int, train: int) -> None:
    write_study(
        tmp_path, {"train/optimizer/lr": {"type": "categorical", "choices": [1e30], "default": 1e30}}, "wild.yaml"
    )
    with running(2, cwd=tmp_path, environment={**ENVIRONMENT, "RAY_AUTH_MODE": "token"}) as cluster:
        before = segments()
        for name, execution, trials in (("inline", INLINE, inline), ("train", {"concurrent": 2}, train)):
            file = write_study(tmp_path, study(execution, trials), f"{name}.yaml")
            folder = tmp_path / name
            started = driver("run", file, "--out", folder, "--address", cluster.address, cwd=tmp_path)
            grown = grown_mib(folder, started, first=1, last=trials - 1)
            _, said = started.communicate(timeout=600)
            assert started.returncode == 1 and "given up after execution.max_failed failures: wild" in said, said
            assert grown < GROWTH_MIB
            states = Counter((row["arm"], row["state"]) for row in trial_rows(folder))
            assert states["wild", "FAIL"] == 2 and states["baseline", "PRUNED"] and states["baseline", "COMPLETE"]
            assert_leaves_nothing(cluster, before)


def test_a_study_leaves_nothing_behind(tmp_path: Path) -> None:
    run_all(tmp_path, inline=8, train=3)


@pytest.mark.stress
def test_a_long_study_leaves_nothing_behind(tmp_path: Path) -> None:
    run_all(tmp_path, inline=50, train=6)

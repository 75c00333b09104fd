"""Workers and nodes of a Ray Train trial die: it goes on, and trains what it would have trained."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.e2e.cluster import local_cluster
from tests.e2e.drivers import WORKER, below, driver, kdstudy, wait_while_alive
from tests.e2e.studies import INLINE, SMALL, assert_same_study, trial_rows, weights
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
EVERY = 10
STUDY: dict[str, Any] = tiny(
    **SMALL,
    train__iterations=120,
    train__evaluate_every=EVERY,
    arms={"baseline": {"trials": 1, "space": "optimizer"}},
    pruning={"reduction_factor": 0},
)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial as it goes where nothing dies."""
    place = tmp_path_factory.mktemp("steady")
    done = kdstudy("run", write_study(place, {**STUDY, "execution": INLINE}), "--out", "run", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "run"


def newest(folder: Path) -> int:
    """The iteration of the newest checkpoint."""
    return max((int(path.name[-9:]) for path in folder.glob("trials/*/checkpoint_[0-9]*")), default=0)


def made(folder: Path, iteration: int) -> int | None:
    """When a checkpoint was made; None where newer ones took its place."""
    try:
        return (folder / f"trials/baseline-00000/checkpoint_{iteration:09}/manifest.json").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def past(folder: Path, iteration: int) -> Callable[[], bool]:
    return lambda: newest(folder) > iteration


def assert_trained_alike(folder: Path, steady: Path) -> None:
    found, expected = weights(folder, "baseline-00000"), weights(steady, "baseline-00000")
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert_same_study(folder, steady)
    (row,) = trial_rows(folder)
    assert row["state"] == "COMPLETE"


def test_killed_and_terminated_workers_lose_an_interval_at_most(steady: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    started = driver("run", write_study(tmp_path, STUDY), "--out", folder, cwd=tmp_path)
    for number, iteration in ((signal.SIGKILL, 0), (signal.SIGTERM, 60)):
        assert wait_while_alive(started, past(folder, iteration)), started.communicate()
        (worker,) = below(started.pid, WORKER)
        kept = newest(folder)
        worker.send_signal(number)
        worker.wait(timeout=60)
        written = made(folder, kept)
        assert wait_while_alive(started, past(folder, kept)), started.communicate()
        # had it gone on from an older one, it would have made this one again
        assert made(folder, kept) in (written, None)
    _, said = started.communicate(timeout=300)
    assert started.returncode == 0, said
    assert "Traceback" not in said
    assert_trained_alike(folder, steady)


def test_a_trial_moves_away_from_a_node_that_died(steady: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    study = write_study(tmp_path, {**STUDY, "execution": {"concurrent": 1}})
    with local_cluster(0, 1, 1) as cluster:
        command = ("run", study, "--out", folder, "--address", cluster.address)
        started = driver(*command, cwd=tmp_path, environment=cluster.driver_environment)
        assert wait_while_alive(started, past(folder, 0)), started.communicate()
        (home,) = (node for node in cluster.nodes if below(node.pid, WORKER))
        cluster.lose(home)
        _, said = started.communicate(timeout=300)
        assert started.returncode == 0, said
        assert "Traceback" not in said
    assert_trained_alike(folder, steady)

"""A trial's processes and nodes die, its driver is stopped: it goes on, and trains what it would have trained."""

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from study.folder import REQUEST
from tests.e2e.cluster import local_cluster
from tests.e2e.drivers import ENOUGH_S, TRIAL, WORKER, below, driver, kdstudy, wait_while_alive
from tests.e2e.studies import INLINE, SMALL, assert_same_study, trial_rows, weights
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.xdist_group("steady")]
STUDY: dict[str, Any] = tiny(
    **SMALL,
    train__iterations=240,
    train__evaluate_every=120,
    execution={"engine": "train", "concurrent": 1, "checkpoint_every": 10},
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
    """The iteration of the newest checkpoint, of an evaluation or between two."""
    found = (path for kind in ("checkpoint", "interim") for path in folder.glob(f"trials/*/{kind}_[0-9]*"))
    return max((int(path.name[-9:]) for path in found), default=0)


def past(folder: Path, iteration: int) -> Callable[[], bool]:
    return lambda: newest(folder) > iteration


def assert_trained_alike(folder: Path, steady: Path) -> None:
    found, expected = weights(folder, "baseline-00000"), weights(steady, "baseline-00000")
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert_same_study(folder, steady)
    (row,) = trial_rows(folder)
    assert row["state"] == "COMPLETE"


def kill_and_wait(started: "subprocess.Popen[str]", folder: Path, name: str, number: signal.Signals) -> None:
    """End the one process of this name, and wait for a checkpoint that another one leaves."""
    (process,) = below(started.pid, name)
    process.suspend()  # or it could be through before the signal comes
    kept = newest(folder)
    process.send_signal(number)
    process.resume()
    process.wait(timeout=ENOUGH_S)
    assert newest(folder) >= kept
    assert wait_while_alive(started, past(folder, newest(folder))), started.communicate()


def test_killed_processes_and_a_stopped_driver_lose_an_interval_at_most(steady: Path, tmp_path: Path) -> None:
    """A trial that Ray Train's workers begin goes on in one process: which engine trains changes nothing."""
    folder = tmp_path / "run"
    started = driver("run", write_study(tmp_path, STUDY), "--out", folder, cwd=tmp_path)
    assert wait_while_alive(started, past(folder, 0)), started.communicate()
    kill_and_wait(started, folder, WORKER, signal.SIGKILL)
    kill_and_wait(started, folder, WORKER, signal.SIGTERM)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and "Traceback" not in said, said
    stopped = re.search(r"baseline 0: stopped at iteration ([0-9]+), to go on from there", said)
    assert stopped and 0 < int(stopped[1]) <= newest(folder), said

    started = driver("resume", folder, "--set", "execution.engine=inline", cwd=tmp_path)
    assert wait_while_alive(started, past(folder, newest(folder))), started.communicate()
    kill_and_wait(started, folder, TRIAL, signal.SIGKILL)
    assert wait_while_alive(started, past(folder, 120)), started.communicate()  # the first evaluation
    kill_and_wait(started, folder, TRIAL, signal.SIGTERM)
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 0 and "Traceback" not in said, said
    assert_trained_alike(folder, steady)
    # two drivers, and two starts of the second one's; Ray Train starts workers again by itself, within an attempt
    assert trial_rows(folder)[0]["attempts"] == 4


def test_a_trial_moves_away_from_a_node_that_died_after_a_notice(steady: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    study = write_study(tmp_path, STUDY)
    with local_cluster(0, 1, 1) as cluster:
        command = ("run", study, "--out", folder, "--address", cluster.address)
        started = driver(*command, cwd=tmp_path, environment=cluster.driver_environment)
        assert wait_while_alive(started, past(folder, 0)), started.communicate()
        (home,) = (node for node in cluster.nodes if below(node.pid, WORKER))
        (worker,) = below(home.pid, WORKER)
        worker.suspend()  # or it would be through before anyone has read the notice
        cluster.announce_loss(home)
        request = folder / REQUEST
        assert wait_while_alive(started, lambda: request.read_text().startswith("CHECKPOINT")), started.communicate()
        kept = newest(folder)
        worker.resume()
        assert wait_while_alive(started, past(folder, kept)), started.communicate()
        cluster.lose(home)
        _, said = started.communicate(timeout=ENOUGH_S)
        assert started.returncode == 0, said
        assert "Traceback" not in said
    assert_trained_alike(folder, steady)

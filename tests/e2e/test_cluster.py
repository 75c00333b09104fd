"""A study on a cluster of two real nodes: submitted as a job, joined by address, with a node that goes and returns."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from study import tables
from study.execution.ray_train import PLACEMENT_GROUPS
from tests.e2e.cluster import LocalCluster, local_cluster
from tests.e2e.drivers import ENOUGH_S, eventually
from tests.e2e.studies import SMALL, assert_consistent, checkpoints, trial_rows
from tests.own_parts import write
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.xdist_group("cluster")]

STUDY: dict[str, Any] = {
    **SMALL,
    "train__iterations": 4,
    "pruning": {"reduction_factor": 0},
    "arms": {"baseline": {"trials": 1, "space": "optimizer"}},
}
PAIR = f"""
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ray

from trainers.difficulty import uniform

PLACE, PATIENCE_S = Path("{{place}}"), {ENOUGH_S}


@dataclass(frozen=True, kw_only=True)
class Config(uniform.Config):
    weighting: Literal["pair"] = "pair"


class Weighting(uniform.Weighting):
    def terms(self, student, teacher, labels, *, iteration):
        if labels.device.type != "meta":  # where operations are counted
            (PLACE / ray.get_runtime_context().get_node_id()).touch()
            due = time.monotonic() + PATIENCE_S
            while len(list(PLACE.iterdir())) < 2:
                assert time.monotonic() < due, "no trial runs on another node"
                time.sleep(0.1)
        return super().terms(student, teacher, labels, iteration=iteration)
"""
"""A weighting whose trials wait until one of them runs on another node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(1, 1) as found:
        yield found


def overlapping(rows: list[dict[str, Any]]) -> int:
    """The most trials that ran at one time."""
    return max(sum(row["started"] <= one["started"] < row["ended"] for row in rows) for one in rows)


def test_a_submitted_study_runs_on_both_nodes_with_the_packages_of_its_folder(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    place = tmp_path / "nodes"
    place.mkdir()
    write(tmp_path / "pair.py", PAIR.replace("{place}", str(place)))
    arms = {"baseline": {"trials": 2, "space": "optimizer", "task": {"weighting": "pair"}}}
    changes = {**STUDY, "arms": arms, "plugins": ["pair.py"], "execution": {"engine": "inline"}}
    run = [sys.executable, "-m", "study", "run", str(write_study(tmp_path, tiny(**changes)))]
    submit = ["job", "submit", "--address", cluster.dashboard, "--working-dir", ".", "--", *run]
    # a submitted job's folder is a copy, so what it leaves lies elsewhere
    done = cluster.ray(*submit, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = trial_rows(tmp_path / "run")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 2
    assert overlapping(rows) == 2
    # the copy of the repository that was sent is no checkout, and nodes are started without any path to one
    (environment,) = tables.read(tmp_path / "run" / "tables", "environment").to_pylist()
    assert environment["git_commit"] is None
    assert_consistent(tmp_path / "run")


def test_without_the_token_nobody_is_let_in(cluster: LocalCluster) -> None:
    jobs = f"{cluster.dashboard}/api/jobs/"
    with pytest.raises(HTTPError, match="401"):
        urlopen(jobs)
    token = Path(cluster.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    with urlopen(Request(jobs, headers={"Authorization": f"Bearer {token}"})) as answer:
        assert answer.status == 200


@pytest.mark.stress
def test_a_node_that_goes_and_returns_is_waited_for(cluster: LocalCluster, tmp_path: Path) -> None:
    """The trials' own processes stay on the head node, which is too small for their workers; those wait for a node."""
    changes = {**STUDY, "train__iterations": 40}
    execution = {"engine": "train", "start_timeout_s": 5, "cpus_per_worker": 2}
    study = write_study(tmp_path, tiny(execution=execution, **changes))
    node = cluster.add(cpus=2)
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "study", "run", str(study), "--out", str(folder), "--address", cluster.address]
    said = (tmp_path / "said.txt").open("w+")
    driver = subprocess.Popen(command, stderr=said, text=True, cwd=tmp_path, env=cluster.driver_environment)
    eventually(lambda: checkpoints(folder), what="no report")
    cluster.lose(node)

    def told() -> str:
        return (tmp_path / "said.txt").read_text()

    eventually(lambda: "waiting for room: 1 of 1" in told(), what="it does not say that it waits")
    # longer than a worker group is given to start
    asked = folder / "trials" / "baseline-00000" / PLACEMENT_GROUPS
    eventually(lambda: len(asked.read_text().split()) > 2, what="it did not ask for a place anew")
    assert driver.poll() is None, told()
    cluster.add(cpus=2)
    assert driver.wait(timeout=ENOUGH_S) == 0, told()
    rows = trial_rows(folder)
    assert [(row["state"], row["iterations"]) for row in rows] == [("COMPLETE", 40)]
    assert_consistent(folder)

"""Cluster capacity: how many trials fit on nodes, and what is suggested as nodes come and go. No cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.configuration.config import ExecutionConfig, StudyConfig
from study.execution.capacity import DRIVER, HEAD, REFRESH_SECONDS, ClusterCapacity, Node, trials_that_fit
from study.execution.searcher import LedgerSearcher
from study.execution.stopping import Drain
from study.ledger.ledger import open_arms
from trainers.config import TeacherFile, parse

Reader = Callable[..., StudyConfig]
HEAD_NODE = {"CPU": 2.0, HEAD: 1.0}
GPUS = {"CPU": 16.0, "GPU": 8.0, "accelerator_type:A100": 1.0}


class Cluster:
    """Nodes that come and go, with a clock on which it is always time to look again."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes, self.time, self.asked, self.lines = list(nodes), 0.0, 0, list[str]()

    def capacity(self, **execution: Any) -> ClusterCapacity:
        return ClusterCapacity(
            parse(ExecutionConfig, execution), nodes=self._look, on_change=self.lines.append, clock=self._always_late
        )

    def _look(self) -> list[Node]:
        self.asked += 1
        return self.nodes

    def _always_late(self) -> float:
        self.time += REFRESH_SECONDS
        return self.time


@pytest.mark.parametrize(
    ("per_node", "workers", "pack", "strict_pack", "strict_spread"),
    [
        ([4, 4], 1, 8, 8, 8),
        ([4, 4], 3, 2, 2, 0),
        ([5, 1], 2, 3, 2, 1),
        ([9, 1, 1], 2, 5, 4, 2),
        ([3, 3, 3, 1], 2, 5, 3, 5),
        ([2, 2], 5, 0, 0, 0),
        ([], 1, 0, 0, 0),
    ],
)
def test_placement_decides_how_many_trials_fit(
    per_node: list[int], workers: int, pack: int, strict_pack: int, strict_spread: int
) -> None:
    assert trials_that_fit(per_node, workers, "PACK") == trials_that_fit(per_node, workers, "SPREAD") == pack
    assert trials_that_fit(per_node, workers, "STRICT_PACK") == strict_pack
    assert trials_that_fit(per_node, workers, "STRICT_SPREAD") == strict_spread


@pytest.mark.parametrize(
    ("execution", "workers", "expected"),
    [
        ({"gpus_per_worker": 1}, 1, 8),
        ({"gpus_per_worker": 1}, 4, 2),
        ({"gpus_per_worker": 0.5, "cpus_per_worker": 0.5}, 1, 16),
        ({"gpus_per_worker": 0.3, "cpus_per_worker": 0.5}, 1, 24),  # three on each GPU, and a rest that is no place
        ({"gpus_per_worker": 0.7, "cpus_per_worker": 1}, 1, 8),
        ({"gpus_per_worker": 2, "cpus_per_worker": 8}, 1, 2),
        ({"cpus_per_worker": 0.1}, 1, 180),
        ({"gpus_per_worker": 1, "accelerator_type": "A100"}, 1, 8),
        ({"gpus_per_worker": 1, "accelerator_type": "T4"}, 1, 0),
    ],
)
def test_a_share_of_a_gpu_lies_on_one_gpu(execution: dict[str, Any], workers: int, expected: int) -> None:
    assert Cluster(HEAD_NODE, GPUS).capacity(**execution).max_trials(workers) == expected


def test_the_processes_of_trials_take_no_cpu_and_limit_their_number() -> None:
    assert Cluster(HEAD_NODE, GPUS).capacity().trial_resources("train") == {HEAD: 0.001}
    two = Cluster({**HEAD_NODE, DRIVER: 2.0}, GPUS)
    assert two.capacity().trial_resources("train") == {DRIVER: 1.0}
    assert (two.capacity().max_trials(1), two.capacity(engine="inline").max_trials(1)) == (2, 18)
    assert two.capacity(engine="inline").trial_resources("inline") == {"CPU": 1}
    assert two.capacity(engine="inline", accelerator_type="A100").max_trials(1) == 16
    # the one node that may hold them is gone: there is no other place for them
    capacity = two.capacity()
    two.nodes = [HEAD_NODE, GPUS]
    assert not capacity.fits(1)


def test_trials_enter_and_leave_as_nodes_come_and_go() -> None:
    cluster = Cluster(HEAD_NODE)
    capacity = cluster.capacity(concurrent=3)
    assert capacity.fits(1)
    capacity.trial_started("a", 1)
    capacity.trial_started("b", 1)
    assert not capacity.fits(1) and not cluster.lines
    cluster.nodes = [HEAD_NODE, {"CPU": 2.0}]
    assert capacity.fits(1)
    assert cluster.lines == ["cluster: 2 nodes, room for 4 trials"]
    capacity.trial_started("c", 1)
    assert not capacity.fits(1), "execution.concurrent is the upper limit"
    cluster.nodes = [{HEAD: 1.0, "CPU": 1.0}]
    assert not capacity.fits(1)
    assert cluster.lines[1:] == ["cluster: 1 node, room for 1 trial; waiting for room: 2 of 3 that have begun"]
    for trial in ("a", "b", "c", "never began"):
        capacity.trial_ended(trial)
    assert capacity.idle and capacity.fits(1)
    cluster.nodes = []
    assert not capacity.fits(1)
    assert cluster.lines[-1] == "cluster: 0 nodes, room for 0 trials; waiting for room"


def test_nodes_are_asked_now_and_then() -> None:
    cluster = Cluster(HEAD_NODE)
    capacity = ClusterCapacity(ExecutionConfig(), nodes=cluster._look, clock=lambda: cluster.time)
    for tenth in range(100):
        cluster.time = tenth / 10
        capacity.fits(1)
    assert cluster.asked <= 1 + 10 / REFRESH_SECONDS


def test_trials_of_several_sizes_share_a_cluster() -> None:
    capacity = Cluster(HEAD_NODE, {"CPU": 6.0}).capacity()
    capacity.trial_started("teacher", 4)
    fitted = 0
    while capacity.fits(1):
        capacity.trial_started(str(fitted), 1)
        fitted += 1
    assert fitted == 4


@pytest.mark.parametrize(
    ("execution", "workers", "message"),
    [
        ({}, 19, "needs 19 workers with 1 CPUs and 0 GPUs each, placed PACK, and there are 18 CPUs and 8 GPUs on 2"),
        ({"gpus_per_worker": 1, "placement": "STRICT_SPREAD"}, 2, "placed STRICT_SPREAD, and there are"),
        ({"gpus_per_worker": 1, "accelerator_type": "H100"}, 1, "got 'H100', and there are A100; name one of them"),
    ],
)
def test_what_never_fits_is_said(execution: dict[str, Any], workers: int, message: str) -> None:
    capacity = Cluster(HEAD_NODE, GPUS).capacity(**execution)
    with pytest.raises(ValueError, match=message):
        capacity.check(workers)
    Cluster(HEAD_NODE, GPUS).capacity().check(18)


def searcher(config: StudyConfig, cluster: Cluster, folder: Path) -> LedgerSearcher:
    return LedgerSearcher(
        config,
        open_arms(config, folder, with_teacher=False),
        teacher=lambda: TeacherFile(path="/teacher.safetensors"),
        capacity=cluster.capacity(engine="inline"),
        folder=folder,
        drain=Drain(),
        local=True,
    )


def test_the_searcher_holds_back_and_goes_on_with_the_cluster(config: Reader, tmp_path: Path) -> None:
    cluster = Cluster({"CPU": 1.0})
    search = searcher(config(), cluster, tmp_path)
    assert isinstance(search.suggest("a"), dict)
    assert search.suggest("b") is None
    cluster.nodes.append({"CPU": 1.0})
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None
    cluster.nodes.clear()
    search.on_trial_complete("a")
    search.on_trial_complete("b")
    assert [search.suggest("c") for _ in range(3)] == [None] * 3, "nothing runs, and there is no node"
    cluster.nodes.append({"CPU": 1.0})
    assert isinstance(search.suggest("c"), dict)


def test_a_study_is_not_over_while_what_runs_may_fail(config: Reader, tmp_path: Path) -> None:
    cluster = Cluster({"CPU": 64.0})
    arms = {"baseline": {"trials": 2, "space": "optimizer"}}
    search = searcher(config(arms=arms), cluster, tmp_path)
    runs = {name: search.suggest(name) for name in ("a", "b")}
    assert all(isinstance(run, dict) for run in runs.values())
    assert search.suggest("c") is None
    arm = search._arms["baseline"]
    arm.tell(0, TrialState.FAIL, None, {})
    search.on_trial_complete("a", error=True)
    again = search.suggest("c")
    assert isinstance(again, dict) and again["number"] == 2
    for number, name in ((1, "b"), (2, "c")):
        arm.tell(number, TrialState.COMPLETE, 20.0, {})
        assert search.suggest("d") is None
        search.on_trial_complete(name)
    cluster.nodes.clear()
    assert [search.suggest("d") for _ in range(3)] == ["FINISHED"] * 3, "what is done needs no node"

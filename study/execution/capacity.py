"""Cluster capacity: how many trials the cluster can hold, asked again as nodes come and go.

Tune takes one limit for a whole study, so it gets a high one, and the searcher holds trials back by what is known here.
Trials that lost their node wait for another; nothing of them holds what another's workers wait for, because the process
of a Ray Train trial takes a resource of its own and no CPU.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from study.configuration.config import Engine, ExecutionConfig, Placement

DRIVER = "trial_driver"
"""The resource that the process of a Ray Train trial takes, so that it never takes a CPU from its own workers."""
HEAD = "node:__internal_head__"
HEAD_SHARE = 0.001
"""What such a process takes of the head node, on a cluster that has no resource for it."""
MAX_CONCURRENT = 10_000
"""Trials at a time that Tune and a cluster of our own allow: more than any has workers for."""
REFRESH_SECONDS = 2.0

Node = Mapping[str, float]


def alive_nodes() -> list[Node]:
    """The resources that each node which is up has in all, by Ray's names."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class ClusterCapacity:
    """How many trials a cluster can run at a time, and which it runs.

    Args:
        execution: what a worker needs.
        nodes: gives the resources of each node.
        on_change: called with a line for people when the number of trials that fit changes.
        clock: seconds; nodes are looked at every REFRESH_SECONDS of it.
    """

    def __init__(
        self,
        execution: ExecutionConfig,
        *,
        nodes: Callable[[], Sequence[Node]] = alive_nodes,
        on_change: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._execution, self._list_nodes, self._on_change, self._clock = execution, nodes, on_change, clock
        self._nodes = list(nodes())
        self._refreshed = clock()
        self._max_trials: dict[int, int] = {}
        self._running: dict[str, int] = {}
        self._running_by_workers: Counter[int] = Counter()
        self._last_summary: str | None = None
        self._driver = DRIVER if any(DRIVER in node for node in self._nodes) else HEAD

    def trial_resources(self, engine: Engine) -> dict[str, float]:
        """What Tune reserves for a trial's own process; Ray Train reserves its workers' share itself."""
        if engine == "inline":
            return self._execution.node_resources
        return {self._driver: 1.0 if self._driver == DRIVER else HEAD_SHARE}

    def max_trials(self, workers: int) -> int:
        """How many trials of so many workers the cluster can hold, were there no others."""
        found = self._max_trials.get(workers)
        if found is None:  # the view asks too, from another thread, while nodes are looked at
            found = self._max_trials[workers] = self._within_nodes(workers)
        return found

    def _within_nodes(self, workers: int) -> int:
        per_node = [workers_on(node, self._execution) for node in self._nodes]
        trials = trials_that_fit(per_node, workers, self._execution.placement)
        if self._execution.engine == "inline":
            return trials
        # of a study whose trials have the one or the other, all may be Ray Train runs
        ((name, share),) = self.trial_resources("train").items()
        return min(trials, round(sum(node.get(name, 0) for node in self._nodes) / share))

    def fits(self, workers: int) -> bool:
        """Whether one more trial of so many workers fits beside those that run."""
        self._refresh(workers)
        if len(self._running) >= (self._execution.concurrent or MAX_CONCURRENT) or not self.max_trials(workers):
            return False
        # trials of other sizes take other shares of the cluster: where 4 of 2 workers fit, or 8 of one, two of the
        # first kind leave space for 4 of the second. Fractions, because shares such as 1/3 must add up to 1
        by_workers = self._running_by_workers.items()
        shares = (Fraction(count, max(self.max_trials(size), 1)) for size, count in by_workers)
        return sum(shares, Fraction(1, self.max_trials(workers))) <= 1

    def trial_started(self, trial_id: str, workers: int) -> None:
        """A trial of so many workers begins."""
        self._running[trial_id] = workers
        self._running_by_workers[workers] += 1

    def trial_ended(self, trial_id: str) -> None:
        """A trial has ended, one that never began perhaps."""
        if trial_id in self._running:
            self._running_by_workers[self._running.pop(trial_id)] -= 1

    def at_a_time(self, workers: int) -> int:
        """How many trials of so many workers run at a time, were there no others."""
        return min(self.max_trials(workers), self._execution.concurrent or MAX_CONCURRENT)

    @property
    def idle(self) -> bool:
        """Whether no trial runs."""
        return not self._running

    def _refresh(self, workers: int) -> None:
        """See which nodes are up, if that was long ago; say what has changed for trials of so many workers."""
        if self._clock() - self._refreshed < REFRESH_SECONDS:
            return
        before = self._last_summary or self._summary(workers)
        self._nodes, self._refreshed = list(self._list_nodes()), self._clock()
        self._max_trials.clear()
        self._last_summary = self._summary(workers)
        if self._last_summary != before:
            self._on_change(self._last_summary)

    def _summary(self, workers: int) -> str:
        fitting = self.max_trials(workers)
        waiting = sum(max(count - self.max_trials(size), 0) for size, count in self._running_by_workers.items())
        wait = f"; waiting for room: {waiting} of {len(self._running)} that have begun" if waiting else ""
        alone = "; waiting for room" if not fitting and self.idle else ""
        return f"cluster: {_number(len(self._nodes), 'node')}, room for {_number(fitting, 'trial')}{wait}{alone}"

    def check(self, workers: int) -> None:
        """Raise ValueError where not one trial of so many workers fits on the cluster."""
        if self.max_trials(workers):
            return
        execution = self._execution
        self._check_accelerator()
        has = {name: sum(node.get(name, 0) for node in self._nodes) for name in ("CPU", "GPU")}
        raise ValueError(
            f"a trial must fit on the cluster, but needs {workers} workers with {execution.cpus_per_worker:g} CPUs and "
            f"{execution.gpus_per_worker:g} GPUs each, placed {execution.placement}, and there are {has['CPU']:g} CPUs "
            f"and {has['GPU']:g} GPUs on {len(self._nodes)} nodes; lower train.workers or execution.cpus_per_worker, "
            "change execution.placement, or add nodes"
        )

    def _check_accelerator(self) -> None:
        wanted, prefix = self._execution.accelerator_type, "accelerator_type:"
        there = sorted({name.removeprefix(prefix) for node in self._nodes for name in node if name.startswith(prefix)})
        if wanted is not None and wanted not in there:
            raise ValueError(
                f"execution.accelerator_type must be of a node of the cluster, but got {wanted!r}, and there are "
                f"{', '.join(there) or 'none'}; name one of them, or leave it out"
            )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def workers_on(node: Node, execution: ExecutionConfig) -> int:
    """Workers that a node can hold."""
    if any(node.get(name, 0) < share for name, share in execution.node_resources.items()):
        return 0
    by_cpus = _times(node["CPU"], execution.cpus_per_worker)
    gpus = execution.gpus_per_worker
    if 0 < gpus < 1:  # a share lies on one GPU
        return min(by_cpus, int(node["GPU"]) * _times(1, gpus))
    return min(by_cpus, _times(node["GPU"], gpus)) if gpus else by_cpus


def _times(whole: float, share: float) -> int:
    """How often a share fits: 0.2 fits three times into 0.6, although 0.6 / 0.2 is 2.9999999999999996."""
    return int(whole / share + 1e-6)


def trials_that_fit(per_node: Sequence[int], workers: int, placement: Placement) -> int:
    """Trials of so many workers that fit on nodes which hold `per_node` workers each."""
    if placement == "STRICT_PACK":
        return sum(held // workers for held in per_node)
    trials = sum(per_node) // workers
    if placement == "STRICT_SPREAD":
        # A node holds at most one worker of each trial, so of n trials it can use min(held, n) workers: n is lowered
        # until the nodes have enough for all n. Nodes of 9, 1 and 1 and trials of 2 workers: 11 // 2 = 5 trials could
        # use 5 + 1 + 1 = 7 workers, enough for 3; 3 could use 3 + 1 + 1 = 5, enough for 2; 2 could use 4, and fit.
        while (fewer := sum(min(held, trials) for held in per_node) // workers) < trials:
            trials = fewer
    return trials

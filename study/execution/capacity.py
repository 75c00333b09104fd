"""Room: how many trials the cluster can hold, asked again as nodes come and go.

Tune takes one limit for a whole study, so it gets a high one, and the searcher holds trials back by what is known here.
Trials that a lost node has left without a place wait for one; nothing of them holds what another's workers wait for,
because the process of a Ray Train trial takes a resource of its own and no CPU.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from study.configuration.config import ExecutionConfig, Placement

DRIVER = "trial_driver"
"""The resource that the process of a Ray Train trial takes, so that it never takes a CPU from its own workers."""
HEAD = "node:__internal_head__"
HEAD_SHARE = 0.001
"""What such a process takes of the head node, on a cluster that has no resource for it."""
PLENTY = 10_000
LOOK_SECONDS = 2.0

Node = Mapping[str, float]


def alive() -> list[Node]:
    """What each node that is up has in all, by Ray's names."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class Room:
    """The places of a cluster, and which trials take them.

    Args:
        execution: what a worker needs.
        nodes: gives what each node has.
        tell: told, in a line, when the number of places changes.
        clock: seconds; nodes are looked at every LOOK_SECONDS of it.
    """

    def __init__(
        self,
        execution: ExecutionConfig,
        *,
        nodes: Callable[[], Sequence[Node]] = alive,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._execution, self._ask, self._tell, self._clock = execution, nodes, tell, clock
        self._nodes = list(nodes())
        self._looked = clock()
        self._capacities: dict[int, int] = {}
        self._trials: dict[str, int] = {}
        self._sizes: Counter[int] = Counter()
        self._told: str | None = None
        self._driver = DRIVER if any(DRIVER in node for node in self._nodes) else HEAD

    @property
    def trial_resources(self) -> dict[str, float]:
        """What Tune reserves for a trial's own process; Ray Train reserves its workers' share itself."""
        if self._execution.engine == "inline":
            return self._execution.node_resources
        return {self._driver: 1.0 if self._driver == DRIVER else HEAD_SHARE}

    def capacity(self, workers: int) -> int:
        """How many trials of so many workers the cluster can hold, were there no others."""
        if workers not in self._capacities:
            self._capacities[workers] = self._within_nodes(workers)
        return self._capacities[workers]

    def _within_nodes(self, workers: int) -> int:
        places = [places_of(node, self._execution) for node in self._nodes]
        trials = trials_within(places, workers, self._execution.placement)
        if self._execution.engine == "inline":
            return trials
        ((name, share),) = self.trial_resources.items()
        return min(trials, round(sum(node.get(name, 0) for node in self._nodes) / share))

    def fits(self, workers: int) -> bool:
        """Whether one more trial of so many workers fits beside those that run."""
        self._look(workers)
        if len(self._trials) >= (self._execution.concurrent or PLENTY) or not self.capacity(workers):
            return False
        # trials of other sizes take other shares of the cluster
        shares = (Fraction(count, max(self.capacity(size), 1)) for size, count in self._sizes.items())
        return sum(shares, Fraction(1, self.capacity(workers))) <= 1

    def enter(self, trial_id: str, workers: int) -> None:
        """A trial of so many workers begins."""
        self._trials[trial_id] = workers
        self._sizes[workers] += 1

    def leave(self, trial_id: str) -> None:
        """A trial has ended."""
        if trial_id in self._trials:
            self._sizes[self._trials.pop(trial_id)] -= 1

    @property
    def empty(self) -> bool:
        """Whether no trial runs."""
        return not self._trials

    def _look(self, workers: int) -> None:
        """See which nodes are up, if that was long ago; say what has changed for trials of so many workers."""
        if self._clock() - self._looked < LOOK_SECONDS:
            return
        before = self._told or self._line(workers)
        self._nodes, self._looked = list(self._ask()), self._clock()
        self._capacities.clear()
        self._told = self._line(workers)
        if self._told != before:
            self._tell(self._told)

    def _line(self, workers: int) -> str:
        capacity = self.capacity(workers)
        waiting = sum(max(count - self.capacity(size), 0) for size, count in self._sizes.items())
        wait = f"; waiting for room: {waiting} of {len(self._trials)} that have begun" if waiting else ""
        alone = "; waiting for room" if not capacity and self.empty else ""
        return f"cluster: {_number(len(self._nodes), 'node')}, room for {_number(capacity, 'trial')}{wait}{alone}"

    def check(self, workers: int) -> None:
        """Raise ValueError where not one trial of so many workers fits on the cluster."""
        if self.capacity(workers):
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


def places_of(node: Node, execution: ExecutionConfig) -> int:
    """Workers that a node can hold."""
    if any(node.get(name, 0) < share for name, share in execution.node_resources.items()):
        return 0
    places = _times(node["CPU"], execution.cpus_per_worker)
    gpus = execution.gpus_per_worker
    if 0 < gpus < 1:  # a share lies on one GPU
        return min(places, int(node["GPU"]) * _times(1, gpus))
    return min(places, _times(node["GPU"], gpus)) if gpus else places


def _times(whole: float, share: float) -> int:
    return int(whole / share + 1e-6)


def trials_within(places: Sequence[int], workers: int, placement: Placement) -> int:
    """Trials of so many workers within nodes of so many places each."""
    if placement == "STRICT_PACK":
        return sum(there // workers for there in places)
    trials = sum(places) // workers
    if placement == "STRICT_SPREAD":  # of one node each trial takes one place at most
        while (fewer := sum(min(there, trials) for there in places) // workers) < trials:
            trials = fewer
    return trials

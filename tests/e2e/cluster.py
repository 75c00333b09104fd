"""A Ray cluster of several raylets on this machine, in a process of its own that tells what is left on it.

`python -m tests.e2e.cluster CPUS...` starts a head without CPUs, and a node with each of these numbers of them. It
prints its address, with the process of every node's raylet; then, for every line it is given, what is on the cluster.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class RunningCluster:
    """A cluster in another process.

    Attributes:
        address: for `--address`.
        raylets: the processes of its nodes but the head.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        started = self._read()
        self.address: str = started["address"]
        self.raylets: list[int] = started["raylets"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster did not start"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def left(self) -> dict[str, Any]:
        """Live actors, placement groups that are not removed, and resources in use."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()


@contextmanager
def running(*cpus: int, cwd: Path, environment: dict[str, str]) -> Iterator[RunningCluster]:
    """A cluster with a node for each number of CPUs."""
    command = [sys.executable, "-m", __name__, *map(str, cpus)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=cwd, env=environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield RunningCluster(process)
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def _main(cpus: list[int]) -> None:
    import ray
    from ray._private.state import actors
    from ray.cluster_utils import Cluster
    from ray.util import placement_group_table

    store = {"object_store_memory": 100_000_000}
    head = {"num_cpus": 0, "include_dashboard": False, **store}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    nodes = [cluster.add_node(num_cpus=count, **store) for count in cpus]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    for _ in sys.stdin:
        free, there = ray.available_resources(), ray.cluster_resources()
        found = {
            "actors": [a["ActorClassName"] for a in actors().values() if a["State"] != "DEAD"],
            "groups": [g["state"] for g in placement_group_table().values() if g["state"] != "REMOVED"],
            "taken": sorted(name for name, amount in there.items() if "CPU" in name and free.get(name, 0) < amount),
        }
        print(json.dumps(found), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    _main([int(argument) for argument in sys.argv[1:]])

"""A cluster of real nodes on this machine, each a process of its own that a test may kill."""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.conftest import ROOT
from tests.e2e.drivers import ENOUGH_S
from tests.study.conftest import ray_environment

HEAD = """
import json, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args=json.loads(sys.argv[1]))
print(json.dumps({"address": cluster.address, "dashboard": cluster.head_node.webui_url}), flush=True)
for line in sys.stdin:
    import ray
    from ray._private.state import actors
    from ray.util import placement_group_table

    ray.init(cluster.address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    free, there = ray.available_resources(), ray.cluster_resources()
    left = {
        "actors": [actor["ActorClassName"] for actor in actors().values() if actor["State"] != "DEAD"],
        "groups": [group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"],
        "taken": sorted(name for name, amount in there.items() if "CPU" in name and free.get(name, 0) < amount),
    }
    print(json.dumps(left), flush=True)
"""
"""Starts the head node; for every line that it is given it tells what is on the cluster."""
RAY = str(Path(sys.executable).with_name("ray"))
STORE = 100_000_000


class LocalCluster:
    """A head node with a dashboard on loopback and token authentication, and nodes that join it.

    Args:
        cpus: of the head node.

    Attributes:
        address: of the head node, host:port.
        dashboard: where jobs are submitted, a URL.
        nodes: the processes of its nodes but the head.
        environment: of its nodes, which know no path to this repository; drivers have `driver_environment`.
    """

    def __init__(self, cpus: int) -> None:
        # short, because the paths of sockets are
        self._place = Path(tempfile.mkdtemp(prefix="kdc", dir="/tmp"))
        token = self._place / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": str(self._place)}
        self.driver_environment = {**ray_environment(), **own, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
        self.environment = {k: v for k, v in self.driver_environment.items() if k != "PYTHONPATH"}
        settings = {
            "num_cpus": cpus,
            "num_gpus": 0,
            "resources": {"trial_driver": 100},
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": 0,
            "dashboard_agent_listen_port": 0,
            "object_store_memory": STORE,
        }
        self.nodes: list[subprocess.Popen[str]] = []
        self._head = self._start([sys.executable, "-c", HEAD, json.dumps(settings)])
        said = self._told(self._head, "{")
        self.address, self.dashboard = json.loads(said)["address"], f"http://{json.loads(said)['dashboard']}"

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            env=self.environment,
            start_new_session=True,
        )

    def _told(self, node: "subprocess.Popen[str]", sign: str) -> str:
        """The next line of a node that has this in it."""
        assert node.stdout is not None
        line = next((line for line in node.stdout if sign in line), None)
        assert line, f"a node ended before it said {sign!r}"
        return line

    def add(self, cpus: int) -> "subprocess.Popen[str]":
        """Another node, once it has joined."""
        # with a folder of its own, as on another machine: jobs' copies of the working directory lie there
        place = self._place / f"n{len(self.nodes)}"
        settings = [f"--num-cpus={cpus}", "--num-gpus=0", f"--object-store-memory={STORE}", f"--temp-dir={place}"]
        # any that are free: by default those of all workers are counted up from 10002
        ports = ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
        node = self._start([RAY, "start", f"--address={self.address}", "--block", *settings, *ports])
        self.nodes.append(node)
        self._told(node, "Ray runtime started")
        return node

    def announce_loss(self, node: "subprocess.Popen[str]") -> None:
        """Give notice, as a cloud does, that a node will be taken away."""
        below = psutil.Process(node.pid).children(recursive=True)
        (raylet,) = (process for process in below if process.name() == "raylet")
        (identifier,) = (part.partition("=")[2] for part in raylet.cmdline() if part.startswith("--node_id="))
        reason = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test")
        done = self.ray("drain-node", "--address", self.address, "--node-id", identifier, *reason)
        assert done.returncode == 0, done.stdout + done.stderr

    def lose(self, node: "subprocess.Popen[str]") -> None:
        """Kill a node and all of its processes, as when its machine is gone."""
        for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            process.kill()
        node.wait()

    def left(self) -> dict[str, list[str]]:
        """Live actors, placement groups that are not removed, and resources in use."""
        assert self._head.stdin is not None
        self._head.stdin.write("\n")
        self._head.stdin.flush()
        left: dict[str, list[str]] = json.loads(self._told(self._head, "{"))
        return left

    def processes(self) -> list[psutil.Process]:
        """What runs of the cluster; Ray's processes name their folder."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(str(self._place) in part for part in process.info["cmdline"] or ())
        ]

    def close(self) -> None:
        """End every node, and what outlives it."""
        nodes = [*reversed(self.nodes), self._head]
        for node in nodes:
            if node.poll() is None:
                node.terminate()
        deadline = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in self.processes():
            process.kill()
        for node in nodes:
            node.kill()
            node.wait()
        shutil.rmtree(self._place, ignore_errors=True)

    def ray(
        self, *arguments: str, timeout: float = 2 * ENOUGH_S, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Ray's own command line, from the repository."""
        return subprocess.run(
            [RAY, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**self.environment, **environment},
            check=False,
            timeout=timeout,
        )


@contextmanager
def local_cluster(head: int, *nodes: int) -> Iterator[LocalCluster]:
    """A cluster whose head and further nodes have so many CPUs; nothing of it is left afterwards."""
    cluster = LocalCluster(head)
    try:
        for cpus in nodes:
            cluster.add(cpus)
        yield cluster
    finally:
        cluster.close()
    assert not cluster.processes(), "processes of the cluster are left"

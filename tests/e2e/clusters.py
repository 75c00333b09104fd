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

from tests.study.conftest import ray_environment

HEAD = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=json.loads(sys.argv[1]))
print(json.dumps({"address": cluster.address, "dashboard": cluster.head_node.webui_url}), flush=True)
sys.stdin.read()
"""
STORE = 100_000_000


class LocalCluster:
    """A head node with a dashboard on loopback and token authentication, and nodes that join it.

    Attributes:
        address: of the head node, host:port.
        dashboard: where jobs are submitted, a URL.
        environment: of its nodes, which know no path to this repository; drivers have `driver_environment`.
    """

    def __init__(self, cpus: int = 1) -> None:
        # short, because the paths of sockets are
        self._place = Path(tempfile.mkdtemp(prefix="kdc", dir="/tmp"))
        token = self._place / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": str(self._place)}
        self.driver_environment = {**ray_environment(), **own, "RAY_USAGE_STATS_ENABLED": "0"}
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
        self._nodes: list[subprocess.Popen[str]] = []
        head = self._start([sys.executable, "-c", HEAD, json.dumps(settings)])
        assert head.stdout is not None
        said = json.loads(next(line for line in head.stdout if line.startswith("{")))
        self.address, self.dashboard = said["address"], f"http://{said['dashboard']}"

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        node = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            env=self.environment,
            start_new_session=True,
        )
        self._nodes.append(node)
        return node

    def add(self, cpus: int = 1) -> "subprocess.Popen[str]":
        """Another node."""
        # with a folder of its own, as on another machine: jobs' copies of the working directory lie there
        place = self._place / f"n{len(self._nodes)}"
        settings = [f"--num-cpus={cpus}", "--num-gpus=0", f"--object-store-memory={STORE}", f"--temp-dir={place}"]
        ports = ["--dashboard-agent-listen-port=0"]
        ray = str(Path(sys.executable).with_name("ray"))
        return self._start([ray, "start", f"--address={self.address}", "--block", *settings, *ports])

    def lose(self, node: "subprocess.Popen[str]") -> None:
        """Kill a node and all of its processes, as when its machine is gone."""
        for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            process.kill()
        node.wait()

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
        for node in reversed(self._nodes):
            if node.poll() is None:
                node.terminate()
        deadline = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in self.processes():
            process.kill()
        for node in self._nodes:
            node.kill()
            node.wait()
        shutil.rmtree(self._place, ignore_errors=True)

    def ray(self, *arguments: str, timeout: float = 300, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Ray's own command line, from the repository."""
        command = [str(Path(sys.executable).with_name("ray")), *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**self.environment, **environment},
            check=False,
            timeout=timeout,
        )


@contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster()
    try:
        yield cluster
    finally:
        cluster.close()

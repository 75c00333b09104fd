"""What a cluster of one's own lets in: nobody without its token, which nobody else can read."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.e2e.drivers import ENOUGH_S, eventually, runs
from tests.study.conftest import ray_environment

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

OWN = """
import json, os, sys
from pathlib import Path
from study.configuration.config import ExecutionConfig
from study.execution.session import connected
with connected(ExecutionConfig(), "local"):
    import ray
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    mode = [path.stat().st_mode & 0o777 for path in (token, token.parent)]
    print(json.dumps({"gcs": ray.get_runtime_context().gcs_address, "token": str(token), "mode": mode}), flush=True)
    sys.stdin.read()
"""
STRANGER = """
import os, sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print("let in")
"""


def stranger(address: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", STRANGER, address]
    env = {**ray_environment(), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=ENOUGH_S)


def test_a_local_study_opens_nothing_to_those_without_its_token(tmp_path: Path) -> None:
    environment = {**ray_environment(), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", OWN]
    own = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert own.stdin is not None and own.stdout is not None
    try:
        said = json.loads(next(line for line in own.stdout if line.startswith("{")))
        assert said["mode"] == [0o600, 0o700]
        assert not (tmp_path / ".ray" / "auth_token").exists(), "Ray's own token is for everyone to read"
        processes = psutil.Process(own.pid).children(recursive=True)
        assert any("raylet" in process.name() for process in processes)
        keys: tuple[dict[str, str], ...] = (
            {"RAY_AUTH_MODE": "disabled"},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": said["token"]},
        )
        with ThreadPoolExecutor() as pool:  # a stranger tries for a while before it gives up
            *refused, welcome = pool.map(lambda key: stranger(said["gcs"], **key), keys)
        for one in refused:
            assert one.returncode != 0 and "let in" not in one.stdout and "InvalidAuthToken" in one.stderr, one.stderr
        assert "let in" in welcome.stdout, welcome.stderr
    finally:
        own.stdin.close()
        own.wait(timeout=ENOUGH_S)

    eventually(lambda: not Path(said["token"]).exists(), what="the token is left")
    eventually(lambda: not any(map(runs, processes)), what="processes are left")

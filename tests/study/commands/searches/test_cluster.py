"""Files for clusters: each is held against what reads it, and no value of a user gets out of its place."""

import os
import shlex
import signal
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from study.__main__ import main
from study.commands.searches.cluster import KINDS, ClusterConfig, render
from tests.conftest import ROOT

NASTY = '/shared/it\'s $(touch pwned) "`id`" ; & #: {x}: 1'
FILE = ClusterConfig(study="quickstart", storage="/shared", nodes=("10.0.0.1", "10.0.0.2", "10.0.0.3"))

# of the reference of ray.io/v1: what a RayJob and what lies in it may have, as far as it is used here
KNOWN = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {
        "entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "rayClusterSpec", "runtimeEnvYAML", "jobId", "suspend", "activeDeadlineSeconds", "submitterPodTemplate",
    },
    "spec.rayClusterSpec": {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs", "autoscalerOptions"},
    "spec.rayClusterSpec.authOptions": {"mode", "secretName"},
    "spec.rayClusterSpec.headGroupSpec": {"rayStartParams", "template", "serviceType"},
    "spec.rayClusterSpec.workerGroupSpecs": {
        "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "numOfHosts",
    },
    "container": {"name", "image", "resources", "volumeMounts", "env", "command", "args"},
}  # fmt: skip


def at(document: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        document = document[key]
    return document


@pytest.mark.parametrize("storage", ["/shared", NASTY])
def test_a_ray_job_has_the_fields_that_kuberay_knows(storage: str) -> None:
    job = yaml.safe_load(render("kuberay", ClusterConfig(study=f"{storage}/my_Study.yaml", storage=storage, workers=3)))
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("ray.io/v1", "RayJob", "my-study")
    for path, known in KNOWN.items():
        if path != "container":
            found = at(job, path)
            assert all(part.keys() <= known for part in (found if isinstance(found, list) else [found])), path
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 3
    for part in (cluster["headGroupSpec"], group):
        assert all(isinstance(value, str) for value in part["rayStartParams"].values())
        pod = part["template"]["spec"]
        (container,) = pod["containers"]
        assert container.keys() <= KNOWN["container"]
        assert container["volumeMounts"][0] == {"name": "shared", "mountPath": storage}
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    assert cluster["headGroupSpec"]["rayStartParams"]["resources"] == '"{\\"trial_driver\\": 1000}"'
    assert yaml.safe_load(yaml.safe_dump(job)) == job


@pytest.mark.parametrize("storage", ["/shared", NASTY])
def test_a_ray_up_file_follows_rays_own_schema(storage: str) -> None:
    config = ClusterConfig(study="quickstart", storage=storage, nodes=FILE.nodes, user="me")
    cluster = yaml.safe_load(render("ray-up", config))
    validate_config(prepare_config(cluster))
    assert cluster["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "10.0.0.3"]}
    assert (cluster["auth"]["ssh_user"], cluster["max_workers"]) == ("me", 2)
    (_, head), (_, worker) = cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token ray start" in command for command in (head, worker))
    assert "--dashboard-host=127.0.0.1" in head


def programs(folder: Path, *, driver: str) -> dict[str, str]:
    """Programs of a cluster that write down how they are called, and an environment that has no others of theirs.

    They run at the same time, so each call has a file of its own; its arguments end in a null byte each.
    """
    place = folder / "bin"
    place.mkdir()
    (folder / "calls").mkdir()
    note = f'printf "%s\\0" "${{0##*/}}" "$@" > "$(mktemp {folder}/calls/XXXXXXXX)"'
    bodies = {
        "scontrol": f'{note}\n[ "$1" = show ] && printf "node1\\nnode2\\nnode3\\n"\nexit 0',
        "srun": f"{note}\n" + 'case "$*" in *hostname*) echo 10.1.1.1 10.2.2.2;; esac',
        "ray": note,
        "kdstudy": f"{note}\n{driver}",
    }
    for name, body in bodies.items():
        (place / name).write_text(f"#!/bin/bash\n{body}\n")
        (place / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_CPUS_PER_TASK": "8"}
    return {**os.environ, **job, "PATH": f"{place}:{os.environ['PATH']}"}


def take_calls(folder: Path) -> list[list[str]]:
    """The calls since these were last taken, in no order."""
    paths = list((folder / "calls").iterdir())
    taken = [path.read_text().split("\0")[:-1] for path in paths]
    for path in paths:
        path.unlink()
    return taken


def run_to_its_end(script: Path, environment: dict[str, str]) -> None:
    """Run a script, and wait for what it started in the background too: that shares its output."""
    subprocess.run(
        ["bash", script], cwd=script.parent, env=environment, check=True, stdout=subprocess.PIPE, timeout=300
    )


def has_trap_for_sigterm(pid: int) -> bool:
    """Whether a process handles SIGTERM, by its mask of caught signals."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("name", ["shared", "it's $(touch pwned) `touch pwned`; & #"])
def test_the_slurm_script_starts_a_cluster_and_then_goes_on_with_the_study(tmp_path: Path, name: str) -> None:
    storage = tmp_path / name
    storage.mkdir()
    script = tmp_path / "job.sh"
    script.write_text(render("slurm", ClusterConfig(study="quick start", storage=str(storage), workers=3, gpus=4)))
    subprocess.run(["bash", "-n", script], check=True)
    out = storage / "quick-start"
    environment = programs(
        tmp_path, driver=f"mkdir -p {shlex.quote(str(out))}; touch {shlex.quote(str(out))}/study.json"
    )
    for command in ("run", "resume"):
        run_to_its_end(script, environment)
        said = take_calls(tmp_path)
        starts = [call for call in said if call[:1] == ["srun"] and "start" in call]
        assert sorted(call[call.index("-w") + 1] for call in starts) == ["node1", "node2", "node3"]
        assert [("--head" in call, "--address=10.1.1.1:6379" in call) for call in starts].count((False, True)) == 2
        assert all("--num-gpus=4" in call for call in starts)
        (driver,) = (call for call in said if call[0] == "kdstudy")
        assert driver[1] == command and driver[-2:] == ["--address", "10.1.1.1:6379"]
        assert str(out) in driver
        if command == "run":
            assert driver[2] == "quick start" and f"teacher.folder={storage}/teachers" in driver
    assert not (tmp_path / "pwned").exists() and not list(storage.rglob("pwned"))
    # the token was for this job alone
    assert not list(Path(f"{out}.ray").iterdir())


def test_a_slurm_job_that_is_told_to_go_drains_the_study_and_comes_back(tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(render("slurm", ClusterConfig(study="quickstart", storage=str(tmp_path), workers=1)))
    wait = f'trap "echo drained > {tmp_path}/drained; exit 1" TERM\ntouch {tmp_path}/up\nwhile :; do sleep 0.05; done'
    job = subprocess.Popen(["bash", script], cwd=tmp_path, env=programs(tmp_path, driver=wait))
    # the driver may be up before the script has come to its own trap
    while not ((tmp_path / "up").exists() and has_trap_for_sigterm(job.pid)):
        assert job.poll() is None
        time.sleep(0.01)
    token = tmp_path / "quickstart.ray" / "token-7"
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)
    job.terminate()
    assert job.wait(timeout=300) == 1
    assert (tmp_path / "drained").exists() and ["scontrol", "requeue", "7"] in take_calls(tmp_path)


def test_a_command_of_the_templates_goes_on_where_there_is_a_study(tmp_path: Path) -> None:
    job = yaml.safe_load(render("kuberay", ClusterConfig(study="x", storage=str(tmp_path / "it's; touch pwned #"))))
    environment = programs(tmp_path, driver=":")
    for expected in ("run", "resume"):
        subprocess.run(["bash", "-c", job["spec"]["entrypoint"]], cwd=tmp_path, env=environment, check=True)
        (call,) = take_calls(tmp_path)
        assert call[1] == expected
        (tmp_path / "it's; touch pwned #" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "it's; touch pwned #" / "x" / "study.json").touch()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("slurm", {"storage": "shared"}, "--storage must be an absolute path that all nodes see, but got 'shared'"),
        ("kuberay", {"storage": "/a\nspec: {}"}, "must be printable"),
        ("ray-up", {"nodes": ()}, "name each with --node HOST, the head first"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    values = {"study": "quickstart", "storage": "/shared", "nodes": FILE.nodes}
    with pytest.raises(ValueError, match=message):
        render(kind, ClusterConfig(**{**values, **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_a_file(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cluster", kind, "quickstart", "--storage", "/shared", "--node", "a", "--node", "b", "--workers", "2"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "@{" not in said and "/shared/quickstart" in said
    assert main([*arguments[:-1], "0"]) == 2


@pytest.mark.parametrize("image", ["kdstudy:latest", NASTY])
def test_the_dockerfile_installs_this_checkout_into_rays_own_image(image: str) -> None:
    lines = render("dockerfile", ClusterConfig(study="quickstart", storage="/shared", image=image)).splitlines()
    words = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert words[0] == ["FROM", f"rayproject/ray:{version('ray')}-py311"]
    assert {line[0] for line in words} <= {"FROM", "WORKDIR", "COPY", "RUN"}, "no value of a user gets out of comments"
    copied = [name for line in words if line[0] == "COPY" for name in line[2:-1]]
    assert all((ROOT / name).exists() for name in copied)
    needed = {
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "analysis",
        "search_spaces",
        "study",
        "trainers",
    }
    assert set(copied) == needed, "what its installation reads"

"""`kdstudy cluster`: files that start a study on a cluster: KubeRay's RayJob and its image, `ray up`'s, a Slurm script.

They lie in study/cluster with their comments. A value never meets a shell or YAML as it is: shell words are quoted, and
YAML gets JSON, which is YAML too.
"""

import argparse
import json
import re
import shlex
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import Annotated, Any

from annotated_types import Ge, MinLen

from trainers.config import parse

KINDS = {"kuberay": "kuberay-rayjob.yaml", "dockerfile": "Dockerfile", "ray-up": "ray-up.yaml", "slurm": "slurm.sh"}
SHELL = ("slurm", "dockerfile")
"""Kinds whose values are shell words; the others are YAML."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("study", metavar="STUDY", help="a preset's name, or a YAML file at a path that the nodes have")
    parser.add_argument("--storage", required=True, metavar="PATH", help="the folder that all nodes see there")
    parser.add_argument("--image", default="kdstudy:latest", help="of the containers, for kuberay")
    parser.add_argument("--node", action="append", default=[], metavar="HOST", dest="nodes", help="for ray-up")
    parser.add_argument("--user", default="ray", help="who logs in there, for ray-up")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="nodes that train; 1 by default")
    parser.add_argument("--cpus", type=int, default=8, metavar="N", help="of each of them; 8 by default")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="of each of them; 1 by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    names = ("study", "storage", "image", "nodes", "user", "workers", "cpus", "gpus")
    print(render(options.kind, parse(ClusterConfig, {name: getattr(options, name) for name in names})), end="")
    return 0


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """A cluster that a study shall run on.

    Attributes:
        study: a preset, or a YAML file at a path that the cluster has.
        storage: the folder that all nodes see under this path.
        image: of the containers, for KubeRay.
        nodes: hosts or addresses of machines, the head first, for `ray up`.
        user: who logs in there.
        workers: nodes that train; Slurm's head node is one of them, KubeRay's and `ray up`'s comes on top.
        cpus: of each of them.
        gpus: of each of them.
    """

    study: Annotated[str, MinLen(1)]
    storage: Annotated[str, MinLen(1)]
    image: Annotated[str, MinLen(1)] = "kdstudy:latest"
    nodes: tuple[str, ...] = field(default=())
    user: Annotated[str, MinLen(1)] = "ray"
    workers: Annotated[int, Ge(1)] = 1
    cpus: Annotated[int, Ge(1)] = 8
    gpus: Annotated[int, Ge(0)] = 1


class _Template(Template):
    """Placeholders are @{name}, because $ is the shell's."""

    delimiter = "@"


def render(kind: str, config: ClusterConfig) -> str:
    """The file that starts a study on such a cluster.

    Raises:
        ValueError: a value that cannot be meant.
    """
    _check(kind, config)
    name = re.sub("[^a-z0-9]+", "-", PurePosixPath(config.study).stem.lower()).strip("-")[:40] or "study"
    out = str(PurePosixPath(config.storage) / name)
    quoted = _for_shell(config, out) if kind in SHELL else _for_yaml(config, out, name)
    template = (files("study") / "cluster" / KINDS[kind]).read_text()
    return _Template(template).substitute(quoted)


def _check(kind: str, config: ClusterConfig) -> None:
    if not PurePosixPath(config.storage).is_absolute():
        raise ValueError(f"--storage must be an absolute path that all nodes see, but got {config.storage!r}")
    for what in (config.study, config.storage, config.image, config.user, *config.nodes):
        if not what.isprintable():  # it would end a line of a comment
            raise ValueError(f"names and paths must be printable, but got {what!r}")
    if kind == "ray-up" and not config.nodes:
        raise ValueError("ray-up needs the machines, but got none; name each with --node HOST, the head first")


def _for_shell(config: ClusterConfig, out: str) -> dict[str, Any]:
    return {
        "study": shlex.quote(config.study),
        "out": shlex.quote(out),
        "nodes": config.workers,
        "cpus": config.cpus,
        "gpus": config.gpus,
        "image": shlex.quote(config.image),
        "ray": version("ray"),
    }


def _for_yaml(config: ClusterConfig, out: str, name: str) -> dict[str, Any]:
    ray = version("ray")
    values = {
        "name": name,
        "entrypoint": driver(config.study, out),
        "rayVersion": ray,
        "image": config.image,
        "storage": config.storage,
        "head": config.nodes[0] if config.nodes else "",
        "others": config.nodes[1:],
        "user": config.user,
        "workers": len(config.nodes) - 1 if config.nodes else config.workers,
        "cpus": config.cpus,
        "gpus": config.gpus,
    }
    texts = {"label": name, "out": shlex.quote(out), "driver": shlex.quote(driver(config.study, out)), "ray": ray}
    return {key: json.dumps(value) for key, value in values.items()} | texts


def driver(study: str, out: str) -> str:
    """The shell command that starts a study, or goes on with it, on the cluster where it runs."""
    where = ["--address", "auto"]
    teachers = f"teacher.folder={PurePosixPath(out).parent / 'teachers'}"
    resume = ["kdstudy", "resume", out, *where]
    run = ["kdstudy", "run", study, "--out", out, "--set", teachers, *where]
    held = shlex.quote(f"{out}/study.json")
    return shlex.join(["bash", "-c", f"if [ -e {held} ]; then {shlex.join(resume)}; else {shlex.join(run)}; fi"])

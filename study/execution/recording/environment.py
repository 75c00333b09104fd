"""What a driver runs on: the row that each start of it leaves in the environment table."""

import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from trainers.plugins.content import Plugin
from trainers.registry import KINDS, installed, owner
from trainers.resources.processors import usable_cpus

GROUPS: Collection[str] = (*KINDS, "search_spaces", "study.commands")
"""Of entry points by which installed packages add parts."""


def environment(plugins: Mapping[str, Plugin]) -> dict[str, Any]:
    """The row of the environment table for this start of the driver.

    Args:
        plugins: the study's.
    """
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "session": f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}",
        "started": datetime.now(UTC),
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": list(_packages().items()),
        "plugins": list(_plugins(plugins).items()),
        "devices": gpus or [platform.processor() or platform.machine()],
        "cpus": usable_cpus(),
        "memory_mib": psutil.virtual_memory().total / 2**20,
        "git_commit": _git_commit(),
    }


def _packages() -> Mapping[str, str]:
    return {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}


def _plugins(plugins: Mapping[str, Plugin]) -> Mapping[str, str]:
    """What adds parts: packages with their versions, the study's own plugins with their contents."""
    packages = (owner(entry).rpartition(" ") for group in GROUPS for entry in installed(group))
    versions = {name: version for name, _, version in packages}
    return {**versions, **{name: f"sha256 {plugin.sha256}" for name, plugin in plugins.items()}}


def _git_commit() -> str | None:
    """The commit of this program's own checkout, None where it was installed without one."""
    here = Path(__file__).parent
    asked = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None

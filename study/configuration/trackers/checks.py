"""Trackers can be had: their packages are installed, and their files lie where every later start finds them."""

import importlib.util
from collections.abc import Iterable

from study.configuration.checks.findings import Finding, fault
from study.configuration.trackers.config import TrackersConfig

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
"""What a tracker imports, by the name of the extra that installs it."""


def check_trackers(trackers: TrackersConfig) -> Iterable[Finding]:
    """What is named is installed and can be written."""
    for name in trackers.names:
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            yield fault(
                f"execution.trackers: {name} needs the package {PACKAGES[name]}, which is not installed; "
                f"pip install 'kdstudy[{name}]'"
            )
    uri = trackers.mlflow.uri if trackers.mlflow else None
    if uri is not None and uri.startswith("sqlite:") and not uri.startswith("sqlite:////"):
        yield fault(
            "execution.trackers.mlflow.uri: a file of SQLite must have an absolute path, or a later start elsewhere "
            f"would not find its runs, but got {uri}; write sqlite:////folder/mlflow.db"
        )

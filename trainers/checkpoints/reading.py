"""What a checkpoint says, read from its address; every file is checked before it is read."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from trainers.addresses import joined
from trainers.checkpoints.base import DamagedError
from trainers.checkpoints.manifest import EARLIER, EVALUATIONS, METRICS, TRIAL, WEIGHTS
from trainers.checkpoints.places import opened
from trainers.config import ConfigError, TrialConfig, parse
from trainers.plugins.loading import load_values

_FORMER = re.compile("^val/")


def read_metrics(address: str | Path) -> dict[str, float | int | str]:
    """The report that came with a checkpoint; that of an earlier version under the names of today.

    Scores were called `val/...` whichever split they were of, and are `eval/...` now.
    """
    return read_reports(address)[-1]


def read_reports(address: str | Path) -> list[dict[str, float | int | str]]:
    """The report that came with a checkpoint as the last one, after those before it that it also keeps.

    The checkpoints of earlier versions keep no others.
    """
    with opened(address, (METRICS,)) as folder:
        last = json.loads((folder / METRICS).read_text())
    earlier = last.pop(EARLIER, [])
    return [{_FORMER.sub("eval/", name): value for name, value in report.items()} for report in (*earlier, last)]


def read_evaluations(address: str | Path) -> tuple[list[str], dict[str, Tensor]]:
    """Image names, and counts per image [images, C, 3] of the "last" and the "best" evaluation."""
    with opened(address, (EVALUATIONS,)) as folder, np.load(folder / EVALUATIONS) as stored:
        names = [str(name) for name in stored["images"]]
        counts = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "images"}
    return names, counts


def read_student(address: str | Path) -> tuple[TrialConfig, dict[str, Any]]:
    """The configuration and the student's weights of a checkpoint. The plugins that trained it are imported.

    Raises:
        ValueError: where `address` is no checkpoint, is damaged or cannot be read.
    """
    remedy = "name a checkpoint_... folder of a trial"
    try:
        with opened(address, (TRIAL, WEIGHTS)) as folder:
            values = json.loads((folder / TRIAL).read_text())
            load_values(values, near=folder)
            config = parse(TrialConfig, values)
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith("student.")]  # noqa: SIM118
                weights = {name.removeprefix("student."): file.get_tensor(name) for name in names}
    except DamagedError as wrong:
        raise ValueError(f"a checkpoint must be a folder with whole files, but {wrong}; {remedy}") from None
    except ConfigError as error:
        held = joined(str(address), TRIAL)
        raise ValueError(f"{held} must be a trial's configuration, but: {error}; {remedy}") from None
    return config, weights

"""The key of a recording: all that decides a teacher's outputs at an iteration, to the last bit.

A recording is found by the hash of its key, so that nothing is ever read across: another version of PyTorch, another
processor or another augmentation is another recording.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from trainers.config import TrialConfig, identity
from trainers.data import transforms
from trainers.data.fingerprint import digest, fingerprint
from trainers.data.order import CountedBatches
from trainers.data.splits import training_images
from trainers.data.transforms import TrainingSamples
from trainers.plugins.loading import of_parts
from trainers.registry import installed, owner
from trainers.teachers.teacher import read_card, sha256

FORMAT = 1
"""Of the files and of this key; raised with every change to either, or to how a network here computes its taps."""


def recording_key(config: TrialConfig, *, device: torch.device, ranks: int | None = None) -> Mapping[str, Any]:
    """Plain values that decide which images a teacher is given at every iteration, and the bits of what it answers.

    Args:
        config: a trial with a teacher.
        device: that the teacher computes on.
        ranks: that share a batch; None for the trial's `train.workers`.

    Raises:
        ValueError: the dataset or the teacher's file is not there, or a file cannot be read.
    """
    return {
        "format": FORMAT,
        "teacher": _teacher(config),
        "fingerprint": digest(fingerprint(config.data, ("train",))),
        "augmentation": transforms.VERSION,
        "sample": _first_sample(config),
        **of_trial(config, on_gpu=device.type == "cuda"),
        **({"ranks": ranks} if ranks else {}),
        **_machine(device),
        **({"added": added} if (added := _added(config)) else {}),
    }


def _added(config: TrialConfig) -> dict[str, str]:
    """The code of others that reads the images or computes the taps: plugins by content, packages by version."""
    assert config.teacher is not None
    model = read_card(Path(config.teacher.path)).model
    used = of_parts(config.data, model) & config.plugins.keys()
    groups = (("trainers.data", config.data.name), ("trainers.models", model.architecture))
    packages = {
        f"{group}.{name}": owner(entry) for group, name in groups for entry in installed(group) if entry.name == name
    }
    return {**{name: config.plugins[name].sha256 for name in sorted(used)}, **packages}


def of_trial(config: TrialConfig, *, on_gpu: bool = False) -> dict[str, Any]:
    """What of a key the configuration of a trial decides but for its teacher: the same on all machines of a kind."""
    train = config.train
    return {
        "data": identity(config.data),
        "holdout": config.holdout,
        "augment": identity(config.augment),
        "data_seed": config.data_seed,
        "batch": train.batch,
        "ranks": train.workers,
        "threads": train.threads,
        "precision": train.precision,
        "channels_last": train.is_channels_last(on_gpu=on_gpu),
    }


def key_hash(key: Mapping[str, Any]) -> str:
    """The name of a recording's folder."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def _first_sample(config: TrialConfig) -> str:
    """Checksum of the first training sample: of drawn images there is no file, and decoders differ, too."""
    data = training_images(config.data, holdout=config.holdout)
    seed = config.data_seed
    order = CountedBatches(length=len(data), batch=1, seed=seed, start=0, stop=1, rank=0, ranks=1)
    (first,) = next(iter(order))
    image, label = TrainingSamples(data, config.augment, seed=seed)[first]
    return hashlib.sha256(image.numpy().tobytes() + label.long().numpy().tobytes()).hexdigest()


def _teacher(config: TrialConfig) -> dict[str, Any]:
    """The teacher's checksum, and every option of how it is run that is not at its default."""
    assert config.teacher is not None
    return {**identity(config.teacher), "sha256": config.teacher.sha256 or sha256(Path(config.teacher.path))}


def _machine(device: torch.device) -> dict[str, Any]:
    """What computes: rounding depends on the instructions that a library chooses for a processor."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "matmul": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32 if device.type == "cuda" else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "timm": version("timm"),
    }


@cache
def _processor() -> str:
    """Model and instruction set of the processor, as far as the system names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.system()} {platform.machine()} {platform.processor()}".strip()
    said = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in said.items()}
    flags = hashlib.sha256(facts.get("flags", facts.get("Features", "")).encode()).hexdigest()[:16]
    return f"{facts.get('model name', '')} {flags}".strip()

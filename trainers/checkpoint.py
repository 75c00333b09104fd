"""TrainState: all that a bit-equal resume needs, and nothing else.

Random numbers are no part of it: order, crops and dropout are counted from seeds and the iteration (data/order.py).
A checkpoint is a folder: `trial.json` (the configuration), `weights.safetensors` (student and methods), `state.pt`
(optimizers and scaler, loaded with weights_only), `metrics.json` (the last report) and `evaluations.npz` (counts per
image of the last and the best evaluation).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainers.config import TrialConfig, canonical_json, parse
from trainers.distiller import Distiller


@dataclass(kw_only=True)
class TrainState:
    """The mutable part of a trial.

    Attributes:
        opponents: optimizers of what is trained against the student, by method.
        iteration: steps done, and so the position in the data.
        metrics: the last report.
        evaluations: counts per image [images, C, 3] of the "last" and the "best" evaluation.
        seconds: time spent in earlier attempts and this one, up to the last report.
    """

    distiller: Distiller
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    opponents: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    iteration: int = 0
    metrics: dict[str, float | int | str] = field(default_factory=dict)
    evaluations: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    def save(self, folder: Path, config: TrialConfig, image_names: list[str]) -> None:
        """Write a checkpoint into the empty `folder`."""
        (folder / "trial.json").write_text(canonical_json(config))
        weights = {name: tensor.contiguous() for name, tensor in self.distiller.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        torch.save(
            {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "opponents": {name: optimizer.state_dict() for name, optimizer in self.opponents.items()},
                "iteration": self.iteration,
                "seconds": self.seconds,
            },
            folder / "state.pt",
        )
        (folder / "metrics.json").write_text(json.dumps(self.metrics))
        counts = {name: tensor.numpy() for name, tensor in self.evaluations.items()}
        np.savez_compressed(folder / "evaluations.npz", allow_pickle=False, images=np.array(image_names), **counts)

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint of the same trial."""
        self.distiller.load_state_dict(load_file(folder / "weights.safetensors"))
        state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, optimizer in self.opponents.items():
            optimizer.load_state_dict(state["opponents"][name])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.metrics = read_metrics(folder)
        _, self.evaluations = read_evaluations(folder)


def read_metrics(folder: Path) -> dict[str, float | int | str]:
    """The report that came with a checkpoint."""
    metrics: dict[str, float | int | str] = json.loads((folder / "metrics.json").read_text())
    return metrics


def read_evaluations(folder: Path) -> tuple[list[str], dict[str, Tensor]]:
    """Image names, and counts per image [images, C, 3] of the "last" and the "best" evaluation."""
    with np.load(folder / "evaluations.npz") as stored:
        names = [str(name) for name in stored["images"]]
        counts = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "images"}
    return names, counts


def read_student(folder: Path) -> tuple[TrialConfig, dict[str, Any]]:
    """The configuration and the student's weights of a checkpoint.

    Raises:
        ValueError: where `folder` is no checkpoint or cannot be read.
    """
    try:
        config = parse(TrialConfig, json.loads((folder / "trial.json").read_text()))
        with safe_open(folder / "weights.safetensors", framework="pt") as file:
            names = [name for name in file.keys() if name.startswith("student.")]  # noqa: SIM118
            weights = {name.removeprefix("student."): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"a checkpoint must be a folder with trial.json and weights.safetensors, but {folder} cannot be "
            f"read: {error}; name a checkpoint_... folder of a trial"
        ) from None
    return config, weights

"""TrainState: all that a bit-equal resume needs, and nothing else.

Random numbers are no part of it: order, crops and dropout are counted from seeds and the iteration (data/order.py).
A checkpoint is a folder: `trial.json` (the configuration), `weights.safetensors` (student and methods), `state.pt`
(optimizers and scaler, loaded with weights_only), `metrics.json` (the last report) and `evaluations.npz` (counts per
image of the last and the best evaluation). How these come onto a disk or into a store is the business of
`trainers.checkpoints`; what is read from an address here was checked before.
"""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from trainers.checkpoints.manifest import EVALUATIONS, METRICS, STATE, TRIAL, WEIGHTS
from trainers.checkpoints.reading import read_evaluations, read_metrics
from trainers.config import TrialConfig, canonical_json
from trainers.distillation.distiller import Distiller


@dataclass(kw_only=True)
class TrainState:
    """The mutable part of a trial.

    Attributes:
        adversaries: optimizers of what is trained against the student, by method.
        iteration: steps done, and so the position in the data.
        metrics: the last report.
        evaluations: counts per image [images, C, 3] of the "last" and the "best" evaluation.
        seconds: time spent in earlier attempts and this one, up to the last report.
    """

    distiller: Distiller
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    adversaries: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    iteration: int = 0
    metrics: dict[str, float | int | str] = field(default_factory=dict)
    evaluations: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    def files(self, config: TrialConfig, image_names: list[str]) -> dict[str, bytes]:
        """The files of a checkpoint by name, as the trial stands now: what trains on does not change them."""
        weights = {name: tensor.contiguous() for name, tensor in self.distiller.state_dict().items()}
        counts = {name: tensor.numpy() for name, tensor in self.evaluations.items()}
        state, evaluations = io.BytesIO(), io.BytesIO()
        torch.save(
            {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "opponents": {name: optimizer.state_dict() for name, optimizer in self.adversaries.items()},
                "iteration": self.iteration,
                "seconds": self.seconds,
            },
            state,
        )
        np.savez_compressed(evaluations, allow_pickle=False, images=np.array(image_names), **counts)
        return {
            TRIAL: canonical_json(config).encode(),
            WEIGHTS: safetensors_bytes(weights),
            STATE: state.getvalue(),
            METRICS: json.dumps(self.metrics).encode(),
            EVALUATIONS: evaluations.getvalue(),
        }

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint of the same trial."""
        self.distiller.load_state_dict(load_file(folder / WEIGHTS))
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, optimizer in self.adversaries.items():
            optimizer.load_state_dict(state["opponents"][name])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.metrics = read_metrics(folder)
        _, self.evaluations = read_evaluations(folder)

"""TrainState: the state that a bit-equal resume needs at any iteration, and its files in a checkpoint.

Random number generators are not part of it: order, crops and dropout are computed from seeds and the iteration
(data/order.py).

A checkpoint is a folder: `trial.json` (the configuration), `weights.safetensors` (student and methods), `state.pt`
(optimizers, scaler and what the next report says of the steps so far, loaded with weights_only), `metrics.json` (the
last reports) and `evaluations.npz` (counts per image of the last and the best evaluation). `trainers.checkpoints`
stores these files on disk or in a store, and verifies them before they are read here.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from trainers import optim
from trainers.checkpoints.manifest import EARLIER, EVALUATIONS, METRICS, STATE, TRIAL, WEIGHTS
from trainers.checkpoints.reading import read_evaluations, read_reports
from trainers.config import TrialConfig, canonical_json
from trainers.distillation.distiller import Distiller

Metrics = dict[str, float | int | str]

KEEP_REPORTS = 8
"""Reports before the last one that a checkpoint keeps: more than can be on their way when a machine is lost.

One may be lost in Ray Train's answer, one wait in its queue and one before it, one be on its way through Tune, and one
in Tune's answer.
"""


class Running(Protocol):
    """What a rank sums up from one report to the next."""

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, tensors on the CPU and plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such sums."""
        ...


@dataclass(kw_only=True)
class TrainState:
    """The mutable part of a trial.

    Attributes:
        distiller: student, methods and weighting.
        optimizer: of the distiller.
        scaler: of the loss, enabled for float16 only.
        adversaries: optimizers of the adversaries, by the method's name.
        iteration: number of steps done, which determines the next batch.
        metrics: of the last report.
        earlier: the reports before it, oldest first, KEEP_REPORTS at most.
        evaluations: counts per image [images, C, 3] of the "last" and the "best" evaluation.
        running: what this rank has summed up since the last report, by name.
        seconds: duration of this and all earlier attempts, up to the last report or checkpoint.
        step_seconds: of that, the duration of the steps since the last report.
        peak_mib: peak memory of rank 0 in this and all earlier attempts, up to there.
    """

    distiller: Distiller
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    adversaries: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    iteration: int = 0
    metrics: Metrics = field(default_factory=dict)
    earlier: list[Metrics] = field(default_factory=list)
    evaluations: dict[str, Tensor] = field(default_factory=dict)
    running: Mapping[str, Running] = field(default_factory=dict)
    seconds: float = 0.0
    step_seconds: float = 0.0
    peak_mib: float = 0.0

    @property
    def reported(self) -> int:
        """The iteration of the last report; 0 before the first."""
        return int(self.metrics.get("iteration", 0))

    def running_sums(self) -> dict[str, Any]:
        """What this rank has summed up since the last report, for the checkpoint that rank 0 writes."""
        return {name: running.state_dict() for name, running in self.running.items()}

    def evaluated(self, metrics: Metrics) -> None:
        """Take over the metrics of an evaluation as those of the last report."""
        if self.metrics:
            self.earlier = [*self.earlier, self.metrics][-KEEP_REPORTS:]
        self.metrics = metrics

    def files(
        self, config: TrialConfig, image_names: list[str], running: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, bytes]:
        """Contents of a checkpoint's files by name; copies, which later steps do not change.

        Args:
            config: the trial.
            image_names: of the images that the trial is judged on.
            running: the `running_sums` of every rank, in their order; none right after a report.
        """
        weights = {name: tensor.contiguous() for name, tensor in self.distiller.state_dict().items()}
        counts = {name: tensor.numpy() for name, tensor in self.evaluations.items()}
        state, evaluations = io.BytesIO(), io.BytesIO()
        torch.save(
            {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                # the key of the first checkpoints, which must stay readable
                "opponents": {name: optimizer.state_dict() for name, optimizer in self.adversaries.items()},
                "iteration": self.iteration,
                "running": list(running),
                "seconds": self.seconds,
                "step_seconds": self.step_seconds,
                "peak_mib": self.peak_mib,
            },
            state,
        )
        np.savez_compressed(evaluations, allow_pickle=False, images=np.array(image_names), **counts)
        return {
            TRIAL: canonical_json(config).encode(),
            WEIGHTS: safetensors_bytes(weights),
            STATE: state.getvalue(),
            METRICS: json.dumps({**self.metrics, EARLIER: self.earlier}).encode(),
            EVALUATIONS: evaluations.getvalue(),
        }

    def load(self, folder: Path, *, rank: int, device: torch.device) -> None:
        """Continue from a checkpoint of the same trial, on the same number of ranks.

        Args:
            folder: of the checkpoint.
            rank: of this process.
            device: that it trains on.
        """
        self.distiller.load_state_dict(load_file(folder / WEIGHTS))
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        optim.load(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, optimizer in self.adversaries.items():
            optim.load(optimizer, state["opponents"][name])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        # checkpoints of earlier versions are those of evaluations alone, and lack these
        self.step_seconds, self.peak_mib = state.get("step_seconds", 0.0), state.get("peak_mib", 0.0)
        if running := state.get("running"):
            for name, sums in self.running.items():
                if name in running[rank]:  # of a teacher that was not recorded then there are no counts
                    sums.load_state_dict(running[rank][name], device)
        *self.earlier, self.metrics = read_reports(folder)
        _, self.evaluations = read_evaluations(folder)

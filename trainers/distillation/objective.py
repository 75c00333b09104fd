"""Objective: the loss as the weighted sum of its terms, their means for reports, and the check that they are finite."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from trainers.config import TrialConfig
from trainers.difficulty import DifficultyWeighting
from trainers.distributed.means import Mean, global_means
from trainers.distributed.ranks import world_size
from trainers.methods import weighed

FINITE = 2**62
"""In place of the iteration of a term's first non-finite value: there is none so far."""


class DivergedError(ArithmeticError):
    """A term of the loss is NaN or infinite: the trial cannot be saved and is not retried."""


class Objective:
    """The weighted sum of a trial's terms, and their running means since the last report."""

    def __init__(self, config: TrialConfig, weighting: DifficultyWeighting[Any]) -> None:
        self._weighting = weighting
        self._methods = {
            f"{name}/{term}": weight
            for name, method in config.methods.items()
            for term, weight in weighed(method).items()
        }
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}
        self._broken: dict[str, Tensor] = {}

    def weighted(self, terms: Mapping[str, Mean], iteration: int) -> dict[str, Tensor]:
        """The terms of one step times their weights, 0-dim tensors of which `total` makes the loss."""
        weights = {f"task/{k}": w for k, w in self._weighting.weights(iteration).items()}
        weights |= self._methods
        values = global_means(terms)
        for name, value in values.items():
            self.log(name, value.detach(), iteration)
        return {name: weights[name] * value for name, value in values.items()}

    def total(self, weighted: Mapping[str, Tensor], iteration: int) -> Tensor:
        """The loss of one step, a 0-dim tensor whose mean over ranks is the loss of the global batch."""
        loss = torch.stack(list(weighted.values())).sum()
        self.log("loss", loss.detach(), iteration)
        return loss

    def log(self, name: str, value: Tensor, iteration: int) -> None:
        """Add a step's value, as of `global_means`, to the running mean of `name`, and note whether it is finite."""
        self._sums[name] = self._sums.get(name, 0) + value.double()
        self._steps[name] = self._steps.get(name, 0) + 1
        now = torch.where(value.isfinite(), FINITE, iteration)
        self._broken[name] = torch.minimum(self._broken.get(name, now), now)

    def mean_loss(self) -> float | None:
        """Mean of this rank's loss since the last `drain`; None before a step. Synchronises with the device."""
        return (self._sums["loss"] / self._steps["loss"]).item() if "loss" in self._sums else None

    def check_finite(self) -> None:
        """Raise DivergedError on every rank if any term was not finite on any rank. Synchronises with the device."""
        if not self._broken:
            return
        first = torch.stack(list(self._broken.values()))
        if world_size() > 1:
            dist.all_reduce(first, dist.ReduceOp.MIN)
        iteration = int(first.min())
        if iteration == FINITE:
            return
        # several terms can break in one step, and the loss breaks with any of them
        broken = [n for n, i in zip(self._broken, first.tolist(), strict=True) if i == iteration]
        named = [name for name in broken if name != "loss"] or broken
        raise DivergedError(
            f"every term must stay finite, but {', '.join(named)} was not at iteration {iteration}; "
            "lower train.optimizer.lr or that term's weight"
        )

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums since the last `drain`, after `check_finite`."""
        return {"sums": {name: value.cpu() for name, value in self._sums.items()}, "steps": dict(self._steps)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such sums."""
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._steps = dict(state["steps"])

    def drain(self) -> dict[str, float]:
        """Means of the loss and of every term over the steps since the last call, over all ranks."""
        if not self._sums:
            return {}
        steps = torch.tensor(list(self._steps.values()), dtype=torch.float64)
        means = torch.stack(list(self._sums.values())) / steps.to(next(iter(self._sums.values())).device)
        if world_size() > 1:
            dist.all_reduce(means)
        logged = dict(zip(self._sums, (means / world_size()).tolist(), strict=True))
        self._sums, self._steps, self._broken = {}, {}, {}
        loss = logged.pop("loss")
        return {
            "train/loss": loss,
            **{f"train/term/{name}": value for name, value in logged.items()},
        }

"""Trials that are stopped on the way, and what their ends are compared by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trainers import small
from trainers.checkpoints.places import checkpoints_at, opened
from trainers.checkpoints.reading import read_evaluations
from trainers.checkpoints.requests import Request
from trainers.context import LocalContext, Metrics, StopRequestedError
from trainers.loop import train

MEASURED = ("time/", "memory/")
"""Metrics that differ from run to run."""


class StoppedError(Exception):
    """What ends an attempt from outside."""


class StoppingContext(LocalContext):
    """Dies at the report of iteration `at`: before the checkpoint is in place, or just after."""

    def __init__(self, folder: Path, at: int, *, lost: bool, place: str | None) -> None:
        super().__init__(folder, place=place)
        self.at, self.lost = at, lost

    def report(self, metrics: Metrics) -> None:
        stop = metrics["iteration"] == self.at
        if not (stop and self.lost):
            super().report(metrics)
        if stop:
            raise StoppedError


class AskedContext(LocalContext):
    """Is asked for something once, after so many steps at which it could be asked."""

    def __init__(self, folder: Path, after: int, request: Request = Request.STOP, **options: Any) -> None:
        super().__init__(folder, **options)
        self._left, self._request = after, request

    def requested(self) -> Request:
        assert self.rank == 0
        self._left -= 1
        return Request.NONE if self._left else self._request


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state by path."""
    if isinstance(state, Tensor):
        return {name: state}
    below = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {path: tensor for key, value in below for path, tensor in tensors(value, f"{name}/{key}").items()}


def ending(place: Path | str) -> dict[str, Tensor]:
    """Weights, momentum and counts of the last checkpoint at a trial's folder or URL."""
    with opened(checkpoints_at(place).all()[-1]) as last:
        assert last.name == "checkpoint_000000007"
        state = torch.load(last / "state.pt", weights_only=True)
        weights: dict[str, Tensor] = load_file(last / "weights.safetensors")
        counts = read_evaluations(last)[1]
    assert state["iteration"] == 7
    momenta = tensors({"student": state["optimizer"], "adversaries": state["opponents"]})
    assert momenta
    return weights | momenta | counts


def reproducible(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.startswith(MEASURED)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def stopped(changes: dict[str, Any], folder: Path, *, at: int, lost: bool = False, place: str | None = None) -> None:
    with pytest.raises(StoppedError):
        train(small.trial(changes), StoppingContext(folder, at, lost=lost, place=place))


def asked_to_stop(changes: Mapping[str, Any], context: LocalContext) -> int:
    """Train until the context is asked to stop; the iteration from which it goes on."""
    with pytest.raises(StopRequestedError) as stop:
        train(small.trial(changes), context)
    return stop.value.iteration

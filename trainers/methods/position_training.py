"""The position network of a teacher: learned from its features, kept beside its file, and how well it reads.

What is learned is a pure function of the teacher's file, the recipe and the batches, whose hash is in the name of the
kept file. So trials share it, and two that learn it at the same time write the same.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from trainers import optim
from trainers.config import identity
from trainers.methods import PretrainingData
from trainers.methods.position_network import PositionNetwork, Pretraining, positions
from trainers.models.weights import load_weights

CARD = "kdstudy_position"


class ReadOut(NamedTuple):
    """Mean absolute errors of the maps, in units of the map's side."""

    error: float
    """Of the network."""
    constant: float
    """Of the best guess that knows nothing of the features, the middle of the map."""


def learned(recipe: Pretraining, channels: int, data: PretrainingData) -> PositionNetwork:
    """The frozen position network of a teacher: the kept one, or a new one that is then kept.

    Args:
        recipe: how it learns.
        channels: of the teacher's features.
        data: what it learns from.

    Raises:
        ValueError: the kept file is not what its name says, or the network cannot learn or be kept.
    """
    path = kept_at(recipe, data)
    if path.exists():
        return _read(path, recipe, channels, data)
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"the position network must be kept beside the teacher's file, but {path.parent} cannot be written; make "
            "it writable, or copy the teacher's file where you may write"
        )
    network = train(recipe, channels, data)
    _keep(network, path, _card(recipe, data))
    return network


def kept_at(recipe: Pretraining, data: PretrainingData) -> Path:
    """Where the network lies, or will lie."""
    return data.teacher_file.with_suffix(f".position-{_digest(recipe, data)[:12]}.safetensors")


def _card(recipe: Pretraining, data: PretrainingData) -> dict[str, Any]:
    """All that decides the weights."""
    return {**data.identity, "recipe": identity(recipe)}


def _digest(recipe: Pretraining, data: PretrainingData) -> str:
    return hashlib.sha256(json.dumps(_card(recipe, data), sort_keys=True).encode()).hexdigest()


def train(recipe: Pretraining, channels: int, data: PretrainingData) -> PositionNetwork:
    """A new position network, trained by the squared error of its maps, frozen.

    On a CPU it learns in one thread, however many the trial has: the number would change the bits.

    Raises:
        ValueError: the error is no longer finite.
    """
    torch.manual_seed(int(_digest(recipe, data)[:12], 16))
    network = PositionNetwork(channels, recipe).to(data.device)
    optimizer = optim.optimizer(network.parameters(), recipe.optimizer)
    with _one_thread():
        for iteration, (images, _) in enumerate(data.batches(recipe.iterations, recipe.batch)):
            optim.set_rate(optimizer, optim.poly_rate(recipe.optimizer, iteration, recipe.iterations))
            loss = _differences(network, images, data).square().mean()
            _check_finite(loss, iteration)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.freeze()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _differences(network: PositionNetwork, images: Tensor, data: PretrainingData) -> Tensor:
    maps: Tensor = network(data.teacher(images)["features"])
    return maps - positions(maps)


def _check_finite(loss: Tensor, iteration: int) -> None:
    # no DivergedError, for only rank 0 is here
    if not loss.isfinite():
        raise ValueError(
            f"the position network's error must stay finite, but was {loss.item()} at iteration {iteration}; lower "
            "methods.idd.pretraining.optimizer.lr, or check the teacher"
        )


@torch.no_grad()
def read_out(network: PositionNetwork, data: PretrainingData, *, images: int) -> ReadOut:
    """How well a frozen network reads positions from the first `images` samples, one at a time."""
    errors, constants = [], []
    for image, _ in data.batches(images, 1):
        differences = _differences(network, image, data)
        errors.append(differences.abs().mean())
        constants.append((positions(differences) - 0.5).abs().mean())
    return ReadOut(float(torch.stack(errors).mean()), float(torch.stack(constants).mean()))


def _keep(network: PositionNetwork, path: Path, card: dict[str, Any]) -> None:
    """Write the file, renamed into place from a name that no other process writes to."""
    writing = path.with_suffix(f".{uuid.uuid4().hex}.writing")
    # not by save_file, whose files none but their owner may read
    writing.write_bytes(serialized(network.state_dict(), metadata={CARD: json.dumps(card, sort_keys=True)}))
    writing.replace(path)


def _read(path: Path, recipe: Pretraining, channels: int, data: PretrainingData) -> PositionNetwork:
    remedy = "remove it, and it is trained anew"
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(CARD, "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} must be a position network's file, but cannot be read: {error}; {remedy}") from None
    expected = _card(recipe, data)
    other = [name for name, value in expected.items() if said.get(name) != value]
    if other:
        raise ValueError(
            f"{path} must hold the position network of this teacher, data and recipe, but its card says another "
            f"{', '.join(other)}; {remedy}"
        )
    network = PositionNetwork(channels, recipe)
    load_weights(network, weights, source=str(path))
    return network.to(data.device).freeze()

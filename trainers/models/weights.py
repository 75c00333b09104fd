"""Tensors into networks: what does not fit is named, with what was expected; what is not finite is refused."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainers.models.layouts import described

_COUNTER = "num_batches_tracked"
"""Of batch normalisation, which files from before PyTorch 0.4.1 lack, and which no output depends on."""


def fitting_tensors(
    stored: Mapping[str, Tensor],
    network: nn.Module,
    *,
    source: str,
    names: Mapping[str, str] | None = None,
    remedy: str | None = None,
) -> dict[str, Tensor]:
    """The tensors of `stored` that `network` has; others, such as a classifier's, are left out.

    Args:
        stored: tensors by name.
        network: on any device.
        source: what messages call `stored`.
        names: the name in `stored` of each tensor of the network; None where they are the same.
        remedy: of a tensor that does not fit; None says whose names `stored` has, and asks for timm's.

    Raises:
        ValueError: one is missing, misshapen or not finite; says what was expected.
    """
    ours = network.state_dict()
    names = names or {name: name for name in ours}
    expected = {names[name]: tensor for name, tensor in ours.items()}
    advice = f"{described(stored)}name the network that was saved, and its tensors as timm does"
    check_shapes(stored, expected, source=source, remedy=remedy or advice)
    found = {name: stored.get(names[name], _no_batches()) for name in ours}
    refuse_not_finite(found, source=source)
    return found


def _no_batches() -> Tensor:
    return torch.zeros((), dtype=torch.int64, device="cpu")


def check_shapes(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str, remedy: str) -> None:
    """Refuse tensors of which one that is expected is missing or misshapen; counters of batches may be missing.

    Raises:
        ValueError: names the first, with the shape that was expected; says how many more there are.
    """
    faults = [
        f"{name!r} of shape {list(tensor.shape)} "
        + (f"has {list(stored[name].shape)}" if name in stored else "is missing")
        for name, tensor in expected.items()
        if not _fits(stored.get(name), tensor, name)
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(f"weights must fit the network, but in {source} {faults[0]}{more}; {remedy}")


def _fits(stored: Tensor | None, expected: Tensor, name: str) -> bool:
    return name.endswith(_COUNTER) if stored is None else stored.shape == expected.shape


def refuse_not_finite(tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Refuse tensors of which a value is NaN or infinite.

    Raises:
        ValueError: names the first such tensor, and says how many more there are.
    """
    wrong = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(
            f"weights must be finite, but in {source} {wrong[0]!r}{more} has NaN or infinite values: its training "
            "diverged, or the file is damaged; name another checkpoint"
        )


def load_weights(network: nn.Module, stored: Mapping[str, Tensor], *, source: str) -> None:
    """Fill `network` with `stored`, of which `source` is the name in messages.

    Raises:
        ValueError: one tensor is missing, misshapen or not finite.
    """
    network.load_state_dict(fitting_tensors(stored, network, source=source))


def sample_images() -> Tensor:
    """RGB uint8 [2, 3, 64, 64] on the CPU, always the same; no random state is used."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator, device="cpu")


def refuse_outputs_not_finite(network: nn.Module, images: Tensor, *, source: str) -> None:
    """Refuse a network whose outputs on `images`, in evaluation mode, are not finite.

    Weights may be finite and their outputs not: a negative running variance, values that overflow.

    Args:
        network: with values, on the device of `images`; all of it in training mode, or all of it not.
        images: as it takes them, [B, 3, H, W].
        source: where its weights are from.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    training = network.training
    with torch.no_grad():
        outputs = network.eval()(images)
    network.train(training)
    if not all(bool(output.isfinite().all()) for output in _tensors(outputs)):
        raise ValueError(
            f"outputs must be finite, but those of the weights in {source} have NaN or infinite values for a batch of "
            "images; name another checkpoint, or the network that was saved"
        )


def _tensors(outputs: Any) -> list[Tensor]:
    return list(outputs.values() if isinstance(outputs, Mapping) else outputs)

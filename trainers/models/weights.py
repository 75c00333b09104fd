"""Tensors from files into networks: what does not fit is named, with what was expected."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


def read_tensors(source: str) -> Mapping[str, Tensor]:
    """The tensors of a state-dict file: .safetensors, or a .pth that is read with `weights_only`.

    Raises:
        ValueError: no file, or one that cannot be read.
    """
    path = Path(source)
    if not path.is_file():
        raise ValueError(
            f"weights must be 'none', 'timm' or a state-dict file, but got weights={source!r}, "
            "which is no file; give the absolute path of one"
        )
    try:
        if path.suffix == ".safetensors":
            tensors: Mapping[str, Tensor] = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text proposes to trust the file
        raise ValueError(
            f"{source} must hold tensors and plain containers alone, because nothing else is unpickled, but does not, "
            "or is damaged; restore it, or save its state dict anew"
        ) from None
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"{source} must be a readable state-dict file, but is not: {error}; restore it") from None
    return tensors


def fitting_tensors(stored: Mapping[str, Tensor], network: nn.Module, *, source: str) -> dict[str, Tensor]:
    """The tensors of `stored` that `network` has; others, such as a classifier's, are left out.

    Raises:
        ValueError: one is missing or misshapen; says what was expected.
    """
    expected = network.state_dict()
    check_shapes(stored, expected, source=source, remedy="and its tensors as timm does")
    return {name: stored[name] for name in expected}


def check_shapes(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str, remedy: str) -> None:
    """Refuse tensors of which one that is expected is missing or misshapen.

    Raises:
        ValueError: names the first, with the shape that was expected; says how many more there are.
    """
    faults = [
        f"{name!r} of shape {list(tensor.shape)} "
        + (f"has {list(stored[name].shape)}" if name in stored else "is missing")
        for name, tensor in expected.items()
        if name not in stored or stored[name].shape != tensor.shape
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(
            f"weights must fit the network, but in {source} {faults[0]}{more}; "
            f"name the network that was saved, {remedy}"
        )


def load_weights(network: nn.Module, stored: Mapping[str, Tensor], *, source: str) -> None:
    """Fill `network` with `stored`, of which `source` is the name in messages.

    Raises:
        ValueError: one tensor is missing or misshapen.
    """
    network.load_state_dict(fitting_tensors(stored, network, source=source))

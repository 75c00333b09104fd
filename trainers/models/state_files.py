"""Files of weights: the tensors by bare name, whatever training code has wrapped them in.

What `student.weights`, `teacher.model.weights` and `kdstudy convert` read, they read here. Nothing but tensors and
plain containers is unpickled, so a pickled module is refused. Which network the tensors are of is for others to tell.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainers.resources.faults import MachineFaultError

AVERAGED = ("state_dict_ema", "model_ema", "model_state_ema", "ema_state_dict", "ema", "params_ema")
"""Entries with an exponential moving average of the weights. As in timm, it is read where there is one."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""Entries with the weights themselves."""
PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel, moving averages and torch.compile put before every name, also one after another."""
_NO_WEIGHT = "n_averaged"
"""How many updates an average of torch.optim.swa_utils has seen."""


def read_tensors(source: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of one that torch.save has written, floating point as float32.

    Raises:
        ValueError: no file, one that cannot be read, or one that holds more than tensors and plain containers.
    """
    path = Path(source)
    if not path.is_file():
        raise MachineFaultError(
            f"weights must be 'none', 'timm' or a state-dict file, but got weights={source!r}, "
            "which is no file; give the absolute path of one"
        )
    return unwrapped(_load(path), source=source)


def unwrapped(stored: Any, *, source: str) -> dict[str, Tensor]:
    """The tensors of what a file holds, by bare name, floating point as float32.

    Args:
        stored: a state dict, perhaps inside the entries AVERAGED and WRAPPERS, its names behind PREFIXES.
        source: what messages call it.

    Raises:
        ValueError: there is no state dict.
    """
    state = _state_dict(stored, source)
    return {_bare(name): _single(tensor) for name, tensor in state.items() if name != _NO_WEIGHT}


def _load(path: Path) -> Any:
    try:
        return load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except pickle.UnpicklingError:  # its text proposes to trust the file
        raise ValueError(
            f"{path} must hold tensors and plain containers alone, because nothing else is unpickled, but {_held(path)}"
            f"; write the weights alone in the code that made it: torch.save(model.state_dict(), {path.name!r})"
        ) from None
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise MachineFaultError(f"{path} must be a readable state-dict file, but is not: {error}; restore it") from None


def _unpickled(path: Path) -> Any:
    if _is_torchscript(path):
        raise ValueError(
            f"{path} must hold tensors and plain containers alone, but is a TorchScript program; write its weights "
            f"alone in code that trusts it: torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pth')"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:  # as before PyTorch 1.6
        return False


def _held(path: Path) -> str:
    """What besides tensors a file holds, as far as that can be said without unpickling it."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        names = []
    return f"holds {', '.join(names)}" if names else "does not, or is damaged"


def _state_dict(stored: Any, source: str) -> Mapping[str, Tensor]:
    """The innermost mapping of names to tensors; what stands beside the tensors, such as an epoch, is left out."""
    inner = stored
    while (entry := _entry(inner)) is not None:
        inner = inner[entry]
    found = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)} if _is_map(inner) else {}
    if found or inner == {}:
        return found
    entries = f"the entries {', '.join(sorted(map(str, inner)))}" if _is_map(inner) else f"a {type(inner).__name__}"
    raise ValueError(
        f"{source} must hold tensors by name, as a state dict, but holds {entries}; "
        f"save the state dict alone: torch.save(model.state_dict(), {Path(source).name!r})"
    )


def _entry(stored: Any) -> str | None:
    """The entry of `stored` that holds the weights, None where it is the state dict itself."""
    entries = (*AVERAGED, *WRAPPERS) if _is_map(stored) else ()
    return next((entry for entry in entries if _is_map(stored.get(entry))), None)


def _is_map(stored: Any) -> bool:
    return isinstance(stored, Mapping)


def _bare(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name


def _single(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()

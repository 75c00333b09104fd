"""What a training step asks of a GPU, seen on fake tensors: where it waits for the host, what it launches and holds."""

import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

ANSWERS: Mapping[str, Any] = {"item": 1.0, "__float__": 1.0, "__int__": 1, "__bool__": True, "__index__": 1}
"""In place of a value that only a real device knows, so that the step goes on and all its waits are found."""
OVERFLOWS = "_maybe_opt_step"
"""The function of the gradient scaler that asks for the number of overflows; the answer is 0, or no step is taken."""
COPIES = ("tolist", "cpu", "numpy", "__array__")
MADE = ("tensor", "as_tensor", "asarray")
SIZED_BY_VALUES = (
    "nonzero", "argwhere", "unique", "_unique2", "masked_select", "bincount", "unique_consecutive", "equal",
)  # fmt: skip
SCALARS = ("_local_scalar_dense", "item")

WITHOUT_KERNEL = frozenset({
    "_reshape_alias", "_unsafe_view", "_version", "alias", "as_strided", "chunk", "detach", "device", "diagonal",
    "empty", "empty_like", "empty_strided", "expand", "is_pinned", "is_same_size", "lift_fresh", "narrow",
    "new_empty", "permute", "reshape", "select", "set_", "size", "slice", "split", "split_with_sizes", "squeeze",
    "stride", "swapaxes", "sym_size", "t", "transpose", "unbind", "unfold", "unsafe_split", "unsqueeze", "view",
    "view_as",
})  # fmt: skip
"""Operators that make views and metadata, and launch nothing."""
LAUNCH = 64
"""Tensors that one launch of a `_foreach` or `_fused` operator works on, about."""
ALLOCATED = 512
"""Bytes that PyTorch's allocator rounds up to."""


def asked_from() -> str:
    """The innermost line of the project on the stack, and the line of PyTorch that it waits in, where that is known."""
    frames = traceback.extract_stack()
    ours = [i for i, f in enumerate(frames) if _is_ours(f.filename)]
    if not ours:
        return "?"
    last = frames[ours[-1]]
    place = f"{Path(last.filename).relative_to(ROOT)}:{last.lineno}"
    named = ("_functions.py", "grad_scaler", "/optim/", "distributed")
    below = [f for f in frames[ours[-1] + 1 :] if "/torch/" in f.filename and any(n in f.filename for n in named)]
    return f"{place} -> {below[-1].filename.split('site-packages/')[-1]}:{below[-1].lineno}" if below else place


def _is_ours(file: str) -> bool:
    return file.startswith(f"{ROOT}/") and not file.startswith((f"{HERE}/", f"{ROOT}/.venv/"))


class HostSyncs(TorchFunctionMode):
    """Python-level operations that make the CPU wait for the GPU; answered, so that the step goes on.

    Attributes:
        found: how often each was met, by what it is and where the project asked for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def note(self, what: str) -> None:
        place = asked_from()
        # the operator below is the same wait, seen once more
        if what.startswith("blocking copy") and any(
            "(blocking" in known and known.endswith(place) for known in self.found
        ):
            return
        self.found[f"{what} at {place}"] += 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        name = getattr(func, "__name__", str(func))
        first = args[0] if args else None
        if isinstance(first, Tensor) and first.device.type == "cuda":
            if name in ANSWERS:
                self.note(f"Tensor.{name}")
                return self._answer(name, first)
            if name in COPIES or (name == "to" and torch.device("cpu") in [_device(a) for a in args[1:]]):
                self.note(f"Tensor.{name}")
            if name == "tolist":
                return torch.zeros(first.shape).tolist()
            if name in SIZED_BY_VALUES:
                self.note(name)
            if name in ("__getitem__", "__setitem__") and self._indexes(name, args[1]) and name == "__getitem__":
                return first  # as if all were chosen
            if name == "new_tensor":
                self.note("new_tensor from Python values (blocking host-to-device copy)")
        elif (
            name in MADE
            and not isinstance(first, Tensor)
            and torch.device(options.get("device") or "cpu").type == "cuda"
        ):
            self.note(f"{name} from Python values (blocking host-to-device copy)")
        if name == "where" and len(args) == 1:
            self.note("where(condition)")
        return func(*args, **options)

    @staticmethod
    def _answer(name: str, asked: Tensor) -> Any:
        if name == "item" and any(frame.name == OVERFLOWS for frame in traceback.extract_stack(limit=8)):
            return 0.0
        return ANSWERS[name] if name != "item" or asked.is_floating_point() else 1

    def _indexes(self, name: str, key: Any) -> bool:
        """Whether a mask chooses, whose size only the device knows."""
        keys = key if isinstance(key, tuple) else (key,)
        masks = any(isinstance(k, Tensor) and k.dtype in (torch.bool, torch.uint8) for k in keys)
        if masks:
            self.note(f"mask {name}")
        if any(isinstance(k, list) for k in keys):
            self.note(f"index by a list in {name} (blocking host-to-device copy)")
        return masks


def _device(value: Any) -> torch.device | None:
    return torch.device(value) if isinstance(value, str | torch.device) else None


class Operators(TorchDispatchMode):
    """Counts what is launched and held on the GPU, and adds the waits that only operators show to `syncs`.

    Args:
        syncs: found so far.
        frozen: parameters that never change, whose casts are counted.

    Attributes:
        launches: kernels, about, by the operator's name.
        flops: of convolutions and matrix products.
        frozen_casts: casts of a frozen parameter to another type.
        peak: bytes held at the same time, at most.
    """

    def __init__(self, syncs: HostSyncs, frozen: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._syncs = syncs
        self._frozen = {tensor.untyped_storage()._cdata for tensor in frozen}
        self._known: set[int] = set()
        self.launches: Counter[str] = Counter()
        self.flops = self.frozen_casts = self.held = self.peak = 0

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that exist before the first operator."""
        for tensor in tensors:
            self._count(tensor)

    def restart(self) -> None:
        """Count launches, operations and casts anew."""
        self.launches.clear()
        self.flops = self.frozen_casts = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        name = func.overloadpacket.__name__
        # PyTorch has no fake form of the fused SGD, which returns nothing and changes its arguments in place
        out = None if name == "_fused_sgd_" else func(*args, **options)
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **options, out_val=out)
        self._waits(name, args, options, out)
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        touched = results + [a for a in tree_leaves(args) if isinstance(a, Tensor)]
        if name not in WITHOUT_KERNEL and any(t.device.type == "cuda" for t in touched):
            many = name.startswith(("_foreach", "_fused")) and isinstance(args[0], list | tuple)
            self.launches[name] += len(args[0]) // LAUNCH + 1 if many else 1
        if name == "_to_copy" and args[0].dtype != out.dtype and args[0].untyped_storage()._cdata in self._frozen:
            self.frozen_casts += 1
        for tensor in results:
            self._count(tensor)
        return out

    def _waits(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any], out: Any) -> None:
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is None:
            return
        if name in (*SIZED_BY_VALUES, *SCALARS) and first.device.type == "cuda":
            self._syncs.note(f"aten.{name}")
        if name in ("copy_", "_to_copy"):
            source, target = (args[1], first) if name == "copy_" else (first, out)
            blocking = not options.get("non_blocking") and not (name == "copy_" and len(args) > 2 and args[2])
            if blocking and {source.device.type, target.device.type} == {"cpu", "cuda"}:
                self._syncs.note(f"blocking copy {source.device.type}->{target.device.type}")

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if tensor.device.type != "cuda" or key in self._known:
            return
        size = -(-storage.nbytes() // ALLOCATED) * ALLOCATED
        self._known.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size

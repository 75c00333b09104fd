"""Batch normalisations of a frozen network folded into the convolutions before them: less to compute and to launch.

Which convolution a normalisation follows is found by running the network once, on noise: what is read by nothing but
one normalisation, at every call, is folded into. The network is run again, and refused where it computes anything else.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.models import SegmentationNetwork, Taps

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
"""Exactly these: a subclass may do more with its weights."""
NORMALISATIONS = (nn.BatchNorm2d, BatchNormAct2d)
SIDE = 64
"""Height and width of the noise, in pixels."""
DIFFERENCE = 1e-8
"""Of a tap in float64, relative to its largest value, by rounding alone."""

Pair = tuple[nn.Module, nn.Module]


@torch.no_grad()
def fold_batch_norms(network: SegmentationNetwork) -> int:
    """Fold what can be folded, in float64, and leave the network in the type that it had.

    Args:
        network: in eval mode, on the CPU.

    Returns:
        How many were folded.

    Raises:
        ValueError: the folded network computes something else.
    """
    dtype = next(network.parameters()).dtype
    network.double()
    images = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs, before = _adjacent(network, images)
    _replace(network, _replacements(pairs))
    _refuse_other(before, network(images))
    network.to(dtype)
    return len(pairs)


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that read each of some tensors, which it keeps alive, so that no other has their ids."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: dict[int, int] = {}
        self._alive: list[Tensor] = []

    def watch(self, tensor: Tensor) -> None:
        self.count[id(tensor)] = 0
        self._alive.append(tensor)

    def read(self, tensor: Tensor) -> None:
        """One more reader of a tensor."""
        if id(tensor) in self.count:
            self.count[id(tensor)] += 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for value in tree_leaves((args, kwargs or {})):
            self.read(value)
        return func(*args, **(kwargs or {}))


class _Calls:
    """Which normalisation reads what a convolution returns, call by call; used as hooks of both."""

    def __init__(self, reads: _Reads) -> None:
        self._reads = reads
        self._returned: dict[nn.Module, list[int]] = defaultdict(list)
        self._readers: dict[int, nn.Module] = {}
        self._times: Counter[nn.Module] = Counter()

    def returned(self, convolution: nn.Module, _: Any, maps: Tensor) -> None:
        self._reads.watch(maps)
        self._returned[convolution].append(id(maps))

    def entered(self, normalisation: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._times[normalisation] += 1
        if id(given[0]) in self._reads.count:
            self._readers[id(given[0])] = normalisation

    def pairs(self) -> Iterator[Pair]:
        """Of a convolution all of whose results only this normalisation reads, which reads nothing else."""
        for convolution, results in self._returned.items():
            readers = {self._readers.get(result) for result in results}
            (reader, *others) = readers
            alone = not others and all(self._reads.count[result] == 1 for result in results)
            if reader is not None and alone and self._times[reader] == len(results):
                yield convolution, reader


def _adjacent(network: SegmentationNetwork, images: Tensor) -> tuple[list[Pair], Taps]:
    """Convolutions with the normalisation that alone reads what they return, and the network's taps."""
    reads = _Reads()
    calls = _Calls(reads)
    with ExitStack() as stack:
        for module in network.modules():
            if type(module) in CONVOLUTIONS:
                stack.callback(module.register_forward_hook(calls.returned).remove)
            elif type(module) in NORMALISATIONS:
                stack.callback(module.register_forward_pre_hook(calls.entered).remove)
        with reads:
            taps = network(images)
        for tap in taps.values():  # whoever asks the network reads it
            reads.read(tap)
    return list(calls.pairs()), taps


def _replacements(pairs: Sequence[Pair]) -> dict[nn.Module, nn.Module]:
    """What stands in the place of each convolution and each normalisation: of the latter its activation, if any."""
    new: dict[nn.Module, nn.Module] = {}
    for convolution, norm in pairs:
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        new[convolution] = fuse_conv_bn_eval(convolution, norm, transpose=transposed).requires_grad_(False)  # type: ignore[type-var, arg-type]
        new[norm] = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
    return new


def _replace(network: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if child in new:
                setattr(part, name, new[child])


def _refuse_other(before: Taps, after: Taps) -> None:
    for name, tap in before.items():
        difference = (after[name] - tap).abs().max() / tap.abs().max().clamp(min=1)
        if not difference <= DIFFERENCE:
            raise ValueError(
                f"a teacher must compute the same with its batch normalisations folded, but {name!r} differs by "
                f"{float(difference):.1g} of its largest value; set teacher.fold_batch_norm to false"
            )

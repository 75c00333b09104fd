"""What a network takes: the latency of a forward on this machine, and the peak memory of a training step anywhere.

The memory is added up on the meta device instead of allocated, so that also a network that does not fit here can be
asked about. Counted are the storages of all tensors that live at a time: weights, gradients, momentum, activations, and
what the optimizer needs in passing. The workspaces inside an operator (convolution algorithms) and the allocator's
rounding are not; a real step needs more by those.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.benchmark import Timer

from trainers import models, optim
from trainers.config import OptimizerConfig
from trainers.difficulty import uniform
from trainers.models.profile import Size


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Wall time of one forward of one image in eval mode, float32.

    Attributes:
        median_ms: over `runs`, after a warm-up; a single run where one takes longer than there is time.
    """

    median_ms: float
    runs: int
    device: str
    threads: int


def latency(
    config: object,
    *,
    size: Size,
    num_classes: int,
    device: torch.device,
    threads: int | None = None,
    seconds: float = 20.0,
) -> Latency:
    """Time one image of `size` (height, width) on `device`, until the median is steady or `seconds` are over.

    Args:
        config: of the network.
        size: of the image.
        num_classes: channels of the logits.
        device: that runs it.
        threads: of the CPU; None for as many as PyTorch has.
        seconds: at most, but for the warm-up and a first run.
    """
    with device:
        network = models.build(config, num_classes=num_classes, initial_weights=False).eval()
        images = torch.randn(1, 3, *size)
    threads = threads or torch.get_num_threads()
    timer = Timer("network(images)", globals={"network": network, "images": images}, num_threads=threads)
    with torch.no_grad():  # the timer warms up by itself
        measured = timer.adaptive_autorange(min_run_time=0.1, max_run_time=seconds)
    return Latency(
        median_ms=1000 * measured.median,
        runs=len(measured.times) * measured.number_per_run,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=threads,
    )


class LivingStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside this context, the bytes of all storages that operators return and that are alive; and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, returned)
        return returned

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        identity, size = id(storage), storage.nbytes()  # one Python object as long as the storage lives
        if identity in self._known:
            return
        self._known.add(identity)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._forget, identity, size)

    def _forget(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.bytes -= size


def peak_bytes(config: object, *, size: Size, num_classes: int, batch: int) -> int:
    """Peak of a float32 step with SGD, momentum and weight decay on the cross entropy of all heads.

    Args:
        config: of the network.
        size: height and width of the images.
        batch: at least 2, because batch normalisation needs two values per channel after global pooling.
    """
    with LivingStorages() as alive, torch.device("meta"):
        network = models.build(config, num_classes=num_classes, initial_weights=False)
        optimizer = optim.optimizer(network.parameters(), OptimizerConfig())
        weighting = uniform.Weighting(uniform.Config(), num_classes=num_classes, iterations=1)
        images, labels = torch.empty(batch, 3, *size), torch.empty(batch, *size, dtype=torch.int64)
        for _ in range(2):  # the first step makes the momentum
            terms = weighting.terms(network(images), None, labels, iteration=0)
            weights = weighting.weights(0)
            loss = torch.stack([weights[name] * mean.value for name, mean in terms.items()]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    peak: int = alive.peak
    return peak

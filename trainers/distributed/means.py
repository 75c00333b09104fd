"""Means that are exact for batches split over ranks: sums are local, and divided once by the global count.

A loss never divides. It returns `Mean(total, count)` of its own rank; `global_means` adds the
counts of all ranks in one all-reduce and divides. What `count` counts is the first line of each
loss's docstring, because published code differs there by factors of up to 524,288 under the same
name.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainers.distributed.ranks import world_size

P = ParamSpec("P")
R = TypeVar("R")


class Mean(NamedTuple):
    """Sum and count of a mean, both 0-dim tensors of this rank; the mean is total / count."""

    total: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count, which nobody calls

    @property
    def value(self) -> Tensor:
        """total / count on this rank, and 0 with a live graph where the count is 0."""
        return _divide(self.total, self.count)


def at_least_float32(values: Tensor) -> Tensor:
    """`values` ready for loss arithmetic: half precision is lifted to float32, float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def _divide(total: Tensor, count: Tensor) -> Tensor:
    empty = count == 0
    return total.masked_fill(empty, 0) / count.masked_fill(empty, 1)


def in_full_precision(loss: Callable[P, R]) -> Callable[P, R]:
    """Give a loss its positional and named tensors in at least float32, and switch autocast off around it."""

    @wraps(loss)
    def lifted(*args: P.args, **options: P.kwargs) -> R:
        device = next(value.device for value in args if isinstance(value, Tensor)).type
        known = torch.amp.is_autocast_available(device)  # not on the meta device
        with torch.autocast(device, enabled=False) if known else nullcontext():
            return loss(*map(_lifted, args), **{name: _lifted(value) for name, value in options.items()})

    return lifted


def _lifted(value: Any) -> Any:
    return at_least_float32(value) if isinstance(value, Tensor) and value.is_floating_point() else value


def global_means(means: Mapping[str, Mean]) -> dict[str, Tensor]:
    """world_size * total / global count of every mean, by one all-reduce of all counts.

    DistributedDataParallel averages gradients over ranks, so the factor world_size makes the
    average of these values, and of their gradients, the mean over the global batch, however
    unevenly the counts lie.

    Args:
        means: this rank's means; every rank passes the same names in the same order.

    Returns:
        0-dim tensors by name; 0 with a live graph where the global count is 0.
    """
    if not means:
        return {}
    counts = torch.stack([mean.count.detach().to(torch.float64) for mean in means.values()])
    ranks = world_size()
    if ranks > 1:
        dist.all_reduce(counts)
    return {
        name: ranks * _divide(mean.total, count.to(mean.total.dtype))
        for (name, mean), count in zip(means.items(), counts, strict=True)
    }

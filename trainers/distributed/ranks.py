"""The ranks that train together, and tensors of all of them; without a process group there is one rank."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 where no process group is up."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process among the ranks; 0 where no process group is up."""
    return dist.get_rank() if dist.is_initialized() else 0


def from_first(value: int, device: torch.device) -> int:
    """Rank 0's value, on every rank. All ranks call it equally often, and wait for their devices.

    Args:
        value: of rank 0; others' are not looked at.
        device: of this rank.
    """
    if world_size() == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.broadcast(shared, 0)
    return int(shared)


def to_first(value: Any) -> list[Any] | None:
    """The values of all ranks, in the order of ranks, on rank 0; None on the others."""
    if world_size() == 1:
        return [value]
    found = None if rank() else [None] * world_size()
    dist.gather_object(value, found)
    return found


def summed(part: Tensor) -> Tensor:
    """The sum over ranks, with a gradient that derives any number of times.

    Args:
        part: of one shape on all ranks.
    """
    if world_size() == 1:
        return part
    total: Tensor = _Sum.apply(part)
    return total


class _Sum(torch.autograd.Function):
    """all_reduce, whose gradient is the sum of what every rank's loss says of the total."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return summed(gradient)


def gathered(part: Tensor) -> Tensor:
    """The parts of all ranks, in the order of ranks, along the first axis. The gradient goes back to each rank's part.

    Args:
        part: [B, ...], of one shape on all ranks.

    Returns:
        [world size * B, ...], the same on every rank; `part` itself where there is one rank.
    """
    if world_size() == 1:
        return part
    joined: Tensor = _Gather.apply(part)
    return joined


class _Gather(torch.autograd.Function):
    """all_gather whose backward adds up what every rank's loss says of this rank's part."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]

"""Memory that runs out: which one an error tells of, and a limit for trials that share a GPU.

Ray divides a GPU among trials but not its memory. Without a limit the trial that asks first gets all of it, and another
one fails with an error that is not its own, or not, depending on the moment.
"""

from typing import Literal

import torch

Memory = Literal["GPU", "host"]

_OF_GPU = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
_OF_HOST = "can't allocate memory"
"""On the CPU PyTorch has no exception of its own for that."""

OUTSIDE_BYTES = 768 * 2**20
"""What a process holds of a GPU outside PyTorch's allocator: CUDA's context, kernels, libraries' workspaces."""


def lacked_memory(error: BaseException) -> Memory | None:
    """The memory of which an allocation found too little; None where the error tells of something else."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in _OF_GPU):
        return "GPU"
    return "host" if isinstance(error, MemoryError) or _OF_HOST in text else None


def limit_to_share(device: torch.device, share: float) -> None:
    """Let PyTorch allocate this process's share of a GPU's memory and no more.

    Args:
        device: that was reserved; a CPU has no limit.
        share: of the GPU that was reserved; a whole one has no limit.

    Raises:
        ValueError: the share is too small for CUDA's own needs.
    """
    if device.type != "cuda" or share >= 1:
        return
    total = torch.cuda.get_device_properties(device).total_memory
    allowed = share * total - OUTSIDE_BYTES
    if allowed <= 0:
        raise ValueError(
            f"execution.gpus_per_worker: a share must hold more than the {OUTSIDE_BYTES // 2**20} MiB that CUDA takes "
            f"for itself, but {share:g} of this GPU are {share * total / 2**20:.0f} MiB; reserve a larger share"
        )
    torch.cuda.set_per_process_memory_fraction(allowed / total, device)

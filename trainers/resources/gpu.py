"""How a process uses its GPU: by which kernels, in which precision, and how much of its memory. Nothing on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

BFLOAT16_SINCE = (8, 0)
"""The compute capability from which GPUs compute in bfloat16; before it PyTorch stands in for them, slowly."""


@contextmanager
def kernels(device: torch.device, *, search: bool) -> Iterator[None]:
    """Choose the kernels of convolutions and matrix products, the same in training and evaluation but for their search.

    Convolutions in float32 take TF32, which is PyTorch's default; matrix products do not, because losses are computed
    by them.

    Args:
        device: nothing is chosen unless it is a GPU.
        search: whether cuDNN tries its kernels at every new shape; pays where all images have one.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = search
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def has_bfloat16(device: torch.device | int) -> bool:
    """Whether a GPU computes in bfloat16 by itself."""
    return torch.cuda.get_device_capability(device) >= BFLOAT16_SINCE


def refuse_precision(precision: str, device: torch.device) -> None:
    """Raise ValueError where the GPU does not compute in bfloat16 and is asked to."""
    if precision != "bfloat16" or device.type != "cuda":
        return
    if not has_bfloat16(device):
        raise ValueError(no_bfloat16(device))


def no_bfloat16(device: torch.device | int) -> str:
    """What to do about a GPU that is too old for bfloat16."""
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    return (
        "train.precision: bfloat16 needs a GPU of compute capability 8.0 or more (A100, RTX 30 and later), but this "
        f"{name} has {'.'.join(map(str, capability))}; --set train.precision=float16 --set "
        "teacher.train.precision=float16"
    )


def return_unused(device: torch.device) -> None:
    """Where the GPU is shared, give back what the allocator holds unused, such as an evaluation's logits."""
    if device.type == "cuda" and torch.cuda.get_per_process_memory_fraction(device) < 1:
        torch.cuda.empty_cache()


def reserved_mib(device: torch.device) -> dict[str, float]:
    """The report of what this rank has reserved of its GPU at most, in MiB: what others lack; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {"memory/reserved_mib": torch.cuda.max_memory_reserved(device) / 2**20}

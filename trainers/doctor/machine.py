"""Versions and devices, without any name or path of the machine's or its user's."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch
import torch.distributed as dist

from trainers.resources.gpu import has_bfloat16
from trainers.resources.processors import usable_cpus

PACKAGES = (
    "kdstudy",
    "torchvision",
    "triton",
    "ray",
    "optuna",
    "numpy",
    "opencv-python-headless",
    "timm",
    "safetensors",
    "pyarrow",
)


def versions() -> dict[str, str | None]:
    """Of Python, the packages that training rests on, and the libraries that PyTorch brings."""
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: _version(name) for name in PACKAGES},
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": cudnn and str(cudnn),
        "nccl": _nccl(),
    }


def devices() -> dict[str, Any]:
    """Processor, memory and GPUs."""
    return {
        "cpus": usable_cpus(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [_gpu(index) for index in range(torch.cuda.device_count())],
    }


def _gpu(index: int) -> dict[str, Any]:
    found = torch.cuda.get_device_properties(index)
    return {
        "name": found.name,
        "memory_gib": round(found.total_memory / 2**30, 1),
        "compute_capability": f"{found.major}.{found.minor}",
        "bfloat16": has_bfloat16(index),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _nccl() -> str | None:
    if not (torch.cuda.is_available() and dist.is_nccl_available()):
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]

"""A stand-in for CUDA's runtime, so that PyTorch believes in one GPU where there is none.

Autograd's engine, autocast and the gradient scaler ask the runtime for a device. No kernel ever runs on it: all
tensors must be fake ones (`torch._subclasses.fake_tensor`). The two libraries are compiled with gcc from the C files
beside this one, against CUDA's headers, which Triton brings, and PyTorch's CUDA wheels bring Triton.
"""

import os
import shutil
import subprocess
from pathlib import Path

import torch

HERE = Path(__file__).parent


def lacking() -> str | None:
    """What keeps the stand-in from being built here; None if nothing does."""
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    if shutil.which("gcc") is None:
        return "there is no gcc to compile the stand-in for CUDA's runtime"
    if _headers() is None:
        return "there are no headers of CUDA, which come with Triton"
    return None


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that believes in one GPU.

    Args:
        folder: where the libraries are compiled.
    """
    include = _headers()
    assert include is not None
    header = [f'-DHEADER="{include / "driver_types.h"}"', f"-I{include}"]
    _compile("fake_cuda_shim.c", folder / "shim.so", *header)
    _compile("fake_cuda_driver.c", folder / "libcuda.so.1", "-Wl,-soname,libcuda.so.1")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return {**os.environ, "LD_PRELOAD": str(folder / "shim.so"), "LD_LIBRARY_PATH": path, "CUDA_VISIBLE_DEVICES": "0"}


def _compile(source: str, library: Path, *options: str) -> None:
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", *options, "-o", library, HERE / source], check=True)


def _headers() -> Path | None:
    packages = Path(torch.__file__).parents[1]
    # PyTorch's own folders of headers lack those of the compiler, without which the others cannot be read
    places = [packages / "triton" / "backends" / "nvidia" / "include", *Path("/usr/local").glob("cuda*/include")]
    needed = ("driver_types.h", "crt/host_defines.h")
    return next((place for place in places if all((place / name).is_file() for name in needed)), None)

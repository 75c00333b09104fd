"""Seconds and peak memory of one loss, forward and backward, in a process of its own."""

import ctypes
import multiprocessing
import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch

from tests.benchmarks.cases import SIZES, Case, Prepared, Size


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how a loss is computed; bfloat16 stands for autocast on bfloat16 taps."""

    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    threads: int = 1

    def prepared(self, case: Case, size: Size) -> Prepared:
        with torch.device(self.device):
            return case(size, getattr(torch, self.precision))

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()


def settings() -> list[Setting]:
    """What this machine can measure."""
    if not torch.cuda.is_available():
        return [Setting()]
    return [Setting(), Setting(device="cuda"), Setting(device="cuda", precision="bfloat16")]


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(":")[2].strip() for line in info if line.startswith("model name")}
    return {
        "cpu": sorted(models),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


class Measured:
    """A loss that waits in a process of its own to be computed once more.

    Attributes:
        peak_mib: the most memory that its first computation held beyond the inputs.
    """

    def __init__(self, case: Case, size: Size, setting: Setting) -> None:
        # forked from a process that has imported all of it and computed nothing
        forking = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload([__name__])
        self._connection, inside = forking.Pipe()
        self._process = forking.Process(target=_serve, args=(inside, case, size, setting), daemon=True)
        self._process.start()
        inside.close()  # so that the end of the process is the end of the pipe
        self.peak_mib = self._receive()

    def seconds(self) -> float:
        """Compute the loss and its gradient once more."""
        self._connection.send("again")
        return self._receive()

    def _receive(self) -> float:
        try:
            return float(self._connection.recv())
        except EOFError:
            self._process.join()
            raise RuntimeError(
                f"a measurement must end well, but its process ended with code {self._process.exitcode}; "
                "see its error above, or free memory if there is none"
            ) from None

    def __enter__(self) -> "Measured":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, case: Case, size: Size, setting: Setting) -> None:
    torch.set_num_threads(setting.threads)
    _seconds(setting.prepared(case, SIZES["tiny"]), setting)  # loads the code that it needs
    prepared = setting.prepared(case, size)
    before = _start_peak(setting)
    _seconds(prepared, setting)
    connection.send(_peak_mib(setting) - before)
    try:
        while connection.recv():
            connection.send(_seconds(prepared, setting))
    except EOFError:
        return


def _seconds(prepared: Prepared, setting: Setting) -> float:
    start = time.perf_counter()
    with setting.autocast():
        loss = prepared.loss()
    torch.autograd.grad(loss, prepared.leaves, allow_unused=True)
    if setting.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _start_peak(setting: Setting) -> float:
    """Forget the peak so far; MiB in use now."""
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # else a loss would find memory that making the inputs left behind
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _peak_mib(setting: Setting) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if setting.device == "cuda" else _status_mib("VmHWM")


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

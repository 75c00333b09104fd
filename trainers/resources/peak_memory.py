"""The peak memory of a trial, also written to disk, where it survives a process that is killed for lack of memory."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from trainers.resources.heartbeat import beating

BEAT_S = 0.25
NOTE = "peak_mib"


def forget_peak(device: torch.device) -> None:
    """Reset the peak memory of this process, which may train one trial after another.

    Args:
        device: that the trial trains on; the GPU is reset only if it is one.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # not on every kind of system
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: torch.device) -> float:
    """Peak memory of this rank in MiB: allocated on the GPU, or resident in the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # in bytes, of what the system counts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@contextmanager
def noted_peak(folder: Path, rank: int = 0) -> Iterator[None]:
    """Keep this process's resident peak in a file of `folder`, as it grows."""
    note, writing = folder / f"{NOTE}-{rank}", folder / f"{NOTE}_writing-{rank}"
    noted = 0.0

    def write() -> None:
        nonlocal noted
        peak = peak_mib(torch.device("cpu"))
        if peak > noted:
            noted = peak
            with suppress(OSError):  # a full disk is no reason to end the trial here
                writing.write_text(f"{peak:.0f}")
                writing.replace(note)  # whole at any moment, for a kill comes when memory grows

    with beating(write, every_s=BEAT_S):
        yield


def read_noted_peak(folder: Path) -> float | None:
    """The highest note of a trial's ranks; None where they left none."""
    notes = [note.read_text() for note in folder.glob(f"{NOTE}-*")]
    return max((float(note) for note in notes if note), default=None)

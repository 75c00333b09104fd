"""Memory: a failed allocation ends a trial for good, with its peak; the note of the peak outlives the process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.trainers import small
from trainers import worker
from trainers.context import LocalContext
from trainers.resources.peak_memory import noted_peak, peak_mib, read_noted_peak

KILLED = """
import os, signal, sys, time
from pathlib import Path
from trainers.resources.peak_memory import noted_peak
folder = Path(sys.argv[1])
with noted_peak(folder, 1):
    taken = bytearray(300 * 2**20)
    # until it is noted; the parent gives up where it never is
    while not (note := folder / "peak_mib-1").exists() or float(note.read_text() or 0) <= 300:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.mark.parametrize("raised", [RuntimeError(CPU), torch.OutOfMemoryError("CUDA out of memory"), MemoryError("")])
def test_a_failed_allocation_is_an_error_with_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def train(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(worker, "train", train)
    outcome = worker.attempt(small.values({}), LocalContext(tmp_path), 0)
    assert outcome["error"].startswith(type(raised).__name__)
    assert outcome["memory/peak_mib"] == pytest.approx(peak_mib(torch.device("cpu")), rel=0.1)


def test_another_fault_of_the_runtime_is_left_to_the_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> None:
        raise RuntimeError("the network is away")

    monkeypatch.setattr(worker, "train", train)
    with pytest.raises(RuntimeError, match="away"):
        worker.attempt(small.values({}), LocalContext(tmp_path), 0)


def test_the_peak_of_a_killed_process_is_known(tmp_path: Path) -> None:
    assert read_noted_peak(tmp_path) is None
    with noted_peak(tmp_path):
        pass
    own = read_noted_peak(tmp_path)
    assert own is not None and own > 50
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=ROOT, timeout=300)
    assert float((tmp_path / "peak_mib-1").read_text()) > 300
    assert read_noted_peak(tmp_path) == max(own, float((tmp_path / "peak_mib-1").read_text()))

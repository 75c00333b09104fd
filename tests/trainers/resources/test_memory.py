"""Memory that runs out ends a trial for good, by the name of the memory and its peak; shares of a GPU are limits."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.trainers import small
from trainers import worker
from trainers.context import LocalContext
from trainers.resources.memory import OUTSIDE_BYTES, limit_to_share

CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
GPU_MIB, HOST_MIB = 1000.0, 200.0
GPU = torch.device("cuda", 0)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalContext:
    """Of a rank on a GPU, as far as its peak memory tells."""
    monkeypatch.setattr(worker, "peak_mib", lambda device: GPU_MIB if device.type == "cuda" else HOST_MIB)
    return LocalContext(tmp_path, device=GPU)


def fail(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    def train(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(worker, "train", train)


@pytest.mark.parametrize(
    ("raised", "peak", "whose"),
    [
        (RuntimeError(CPU), HOST_MIB, "resident in the process"),
        (MemoryError(""), HOST_MIB, "resident in the process"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), GPU_MIB, "allocated on the GPU"),
        (RuntimeError("CUDA error: out of memory\nCompile with"), GPU_MIB, "allocated on the GPU"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_memory_that_was_lacking_is_told(
    context: LocalContext, monkeypatch: pytest.MonkeyPatch, raised: Exception, peak: float, whose: str, ranks: int
) -> None:
    fail(monkeypatch, raised)
    context.world_size = ranks
    if ranks == 1:
        outcome = worker.attempt(small.values({}), context, 0)
        error, found = outcome["error"], outcome["memory/peak_mib"]
    else:  # Ray must end the others
        with pytest.raises(worker.PermanentError) as caught:
            worker.attempt(small.values({}), context, 0)
        error, found = str(caught.value), caught.value.peak_mib
    assert error.startswith(f"{type(raised).__name__}: ") and "Compile" not in error
    assert error.endswith(f"; the peak was {peak:.0f} MiB {whose}; lower train.batch or augment.crop")
    assert found == peak


def test_another_fault_of_the_runtime_is_left_to_the_retries(
    context: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, RuntimeError("the network is away"))
    with pytest.raises(RuntimeError, match="away"):
        worker.attempt(small.values({}), context, 0)


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What PyTorch was limited to, on a GPU of 8 GiB."""
    found: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda fraction, _: found.append(fraction))
    return found


def test_trials_that_share_a_gpu_fit_on_it_together(fractions: list[float]) -> None:
    for share in (0.5, 0.25, 0.25):
        limit_to_share(GPU, share)
    assert sum(fractions) * 8 * 2**30 + 3 * OUTSIDE_BYTES == 8 * 2**30
    with pytest.raises(
        ValueError, match=r"more than the 768 MiB .* but 0\.05 of this GPU are 410 MiB; reserve a larger"
    ):
        limit_to_share(GPU, 0.05)


def test_who_shares_nothing_has_no_limit(fractions: list[float]) -> None:
    limit_to_share(GPU, 1)
    limit_to_share(torch.device("cpu"), 0.5)
    assert fractions == []

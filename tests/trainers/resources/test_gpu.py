"""How a process uses its GPU, as far as that can be seen without one."""

from collections.abc import Iterator

import pytest
import torch

from trainers.resources import gpu

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture
def other_precision() -> Iterator[None]:
    """TF32 where it is not to be, and not where it is."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("other_precision")
def test_kernels_are_chosen_for_training_and_for_evaluations_within() -> None:
    before = torch.backends.cudnn.benchmark
    with gpu.kernels(CUDA, search=True):
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
        with gpu.kernels(CUDA, search=False):
            assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.usefixtures("other_precision")
def test_on_a_cpu_nothing_is_chosen() -> None:
    before = torch.backends.cudnn.benchmark
    with gpu.kernels(CPU, search=not before):
        assert torch.backends.cudnn.benchmark == before
        assert torch.backends.cuda.matmul.allow_tf32
    assert gpu.reserved_mib(CPU) == {}
    gpu.return_unused(CPU)


@pytest.mark.parametrize("capability", [(7, 0), (7, 5)])
def test_an_older_gpu_is_refused_bfloat16(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla")
    law = rf"8\.0 or more .* this Tesla has 7\.{capability[1]}; --set train\.precision=float16 --set teacher\.train"
    with pytest.raises(ValueError, match=law):
        gpu.refuse_precision("bfloat16", CUDA)
    gpu.refuse_precision("float16", CUDA)
    gpu.refuse_precision("bfloat16", CPU)


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (9, 0), (12, 0)])
def test_a_newer_one_is_not(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    gpu.refuse_precision("bfloat16", CUDA)


@pytest.mark.parametrize(("fraction", "emptied"), [(0.25, 1), (1.0, 0)])
def test_what_is_unused_goes_back_where_the_gpu_is_shared(
    fraction: float, emptied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: fraction)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(None))
    gpu.return_unused(CUDA)
    assert len(calls) == emptied

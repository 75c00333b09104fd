import pytest
import torch
from torch import Tensor

from trainers.teachers.recordings.layout import Layout, as_bytes

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def tensors() -> dict[str, Tensor]:
    whole = torch.randn(2, 3, 6, 8)
    return {
        "plain": whole,
        "channels_last": whole.contiguous(memory_format=torch.channels_last),
        "one image in channels_last": whole[:1].contiguous(memory_format=torch.channels_last),
        "one channel": whole[:, :1].contiguous(memory_format=torch.channels_last),
        "cut": whole[:, :, :5, :7],
        "cut in channels_last": whole.contiguous(memory_format=torch.channels_last)[:, :, 1:5, :7],
        "transposed": whole.transpose(2, 3),
        "offset": whole[1:],
    }


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", tensors())
def test_a_tensor_comes_back_with_its_bits_and_strides(name: str, dtype: torch.dtype) -> None:
    tensor = tensors()[name].to(dtype)
    layout = Layout.of(tensor)
    packed = layout.packed(tensor)
    assert as_bytes(packed).nbytes == layout.bytes == tensor.numel() * dtype.itemsize
    found = layout.unpacked(packed.clone())
    assert torch.equal(found, tensor) and found.dtype == dtype
    assert found.stride() == tensor.stride()


def test_values_that_share_memory_are_stored_once_each() -> None:
    expanded = torch.randn(2, 3, 1, 1).expand(2, 3, 4, 5)
    layout = Layout.of(expanded)
    assert torch.equal(layout.unpacked(layout.packed(expanded)), expanded)


def test_dense_values_are_not_copied() -> None:
    tensor = tensors()["channels_last"]
    layout = Layout.of(tensor)
    packed = layout.packed(tensor)
    assert packed.data_ptr() == tensor.data_ptr() == layout.unpacked(packed).data_ptr()


@pytest.mark.parametrize(
    "changed", [{"shape": [2]}, {"shape": [-1, 3]}, {"stride": [-1, 1]}, {"stride": None}, {"shape": "ab"}]
)
def test_what_is_no_layout_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Layout.read({"shape": [2, 3], "stride": [3, 1], "dtype": "float32", **changed})


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="type that PyTorch has, but got 'nn'"):
        _ = Layout.read({"shape": [2], "stride": [1], "dtype": "nn"}).type

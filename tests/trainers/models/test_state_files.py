"""Files of weights: every wrapper of training code is read the same; what is no state dict is refused."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trainers.models.state_files import read_tensors


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict())


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors().items()}


def noise() -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, 7) for name, tensor in tensors().items()}


@pytest.mark.parametrize(
    "stored",
    [
        tensors(),
        OrderedDict(tensors()),
        {"state_dict": tensors(), "epoch": 3, "arch": "resnet18"},
        {"model": tensors(), "optimizer": {"state": {}}},
        {"model_state": tensors()},
        {"model_state_dict": tensors()},
        {"checkpoint": 1, "model": {"state_dict": tensors()}},
        {**tensors(), "epoch": 3},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        {"state_dict": prefixed("module.")},
        {"state_dict": noise(), "state_dict_ema": tensors()},
        {"model": noise(), "model_ema": prefixed("module.")},
        {"model": noise(), "ema": {"module": tensors(), "updates": 5}},
        {"model": tensors(), "model_ema": None},
        {**prefixed("module."), "n_averaged": torch.tensor(9)},
    ],
)
def test_every_wrapper_gives_the_same_tensors(stored: Any, tmp_path: Path) -> None:
    torch.save(stored, tmp_path / "weights.pth")
    found = read_tensors(str(tmp_path / "weights.pth"))
    assert found.keys() == tensors().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors().items())


def test_an_average_as_pytorch_saves_it_is_read(tmp_path: Path) -> None:
    network = nn.Linear(2, 3)
    torch.save({"model_ema": AveragedModel(network).state_dict()}, tmp_path / "weights.pth")
    found = read_tensors(str(tmp_path / "weights.pth"))
    assert found.keys() == {"weight", "bias"} and torch.equal(found["weight"], network.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_floating_point_becomes_single(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors().items()}
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(stored, path)
    for name, tensor in read_tensors(str(path)).items():
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        torch.testing.assert_close(tensor, stored[name].to(tensor.dtype), rtol=0, atol=0)


def test_tensors_have_values_on_the_meta_device_too(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "weights.pth")
    with torch.device("meta"):
        found = read_tensors(str(tmp_path / "weights.pth"))
    assert {tensor.device.type for tensor in found.values()} == {"cpu"}


class Network(nn.Linear):
    """Of someone's own."""


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(Network(2, 3), tmp_path / "network.pth")
    with pytest.raises(ValueError, match="must hold tensors and plain containers alone") as caught:
        read_tensors(str(tmp_path / "network.pth"))
    said = str(caught.value)
    assert f"holds {__name__}.Network" in said
    assert said.endswith("in the code that made it: torch.save(model.state_dict(), 'network.pth')")
    assert "weights_only" not in said


def test_a_torchscript_program_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 3)).save(str(tmp_path / "network.pt"))
    with pytest.raises(ValueError, match=r"is a TorchScript program; write its weights alone .*torch\.jit\.load"):
        read_tensors(str(tmp_path / "network.pt"))


@pytest.mark.parametrize(
    ("stored", "held"),
    [
        ({"student": tensors(), "teacher": tensors()}, "the entries student, teacher;"),
        ([torch.zeros(1)], "a list;"),
        (torch.zeros(1), "a Tensor;"),
    ],
)
def test_what_is_no_state_dict_is_refused(stored: Any, held: str, tmp_path: Path) -> None:
    torch.save(stored, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=f"must hold tensors by name, as a state dict, but holds {held}"):
        read_tensors(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"restore it|write the weights alone"):
        read_tensors(str(path))

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from trainers import models
from trainers.costs import network as network_cost
from trainers.costs.network import LivingStorages
from trainers.models import named

TINY = named("deeplabv3(mobilenetv2_035, head_channels=16)")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_storages_count_once_while_they_live(device: str) -> None:
    with LivingStorages() as alive, torch.device(device):
        first = torch.ones(1000)
        view = first[:10]  # shares its storage
        assert alive.bytes == 4000
        second = first * 2
        del first
        assert (alive.bytes, alive.peak) == (8000, 8000)
        del second, view
        assert (alive.bytes, alive.peak) == (0, 8000)
        third = torch.ones(500, dtype=torch.float64)
        assert (alive.bytes, alive.peak) == (4000, 8000)
        del third


def saved_activations(size: tuple[int, int], batch: int) -> int:
    """Bytes that autograd keeps for a backward of TINY, seen by autograd's own hooks on real tensors."""
    network = models.build(TINY, num_classes=5)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        taps = network(torch.randn(batch, 3, *size))
    del taps  # until here the graph keeps every address from being used again
    return sum(kept.values())


def test_the_peak_of_a_step_is_weights_gradients_momentum_and_activations() -> None:
    size, batch = (96, 128), 2
    weights = 4 * sum(parameter.numel() for parameter in models.build(TINY, num_classes=5).parameters())
    activations = saved_activations(size, batch)
    peak = network_cost.peak_bytes(TINY, size=size, num_classes=5, batch=batch)
    assert 2 * weights + activations < peak < 4 * weights + 1.25 * activations


def test_latency_is_timed_on_the_device_that_is_named() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = network_cost.latency(TINY, size=(32, 48), num_classes=5, device=torch.device("cpu"), seconds=1)
    finally:
        torch.set_num_threads(before)
    assert taken.runs >= 4 and 0 < taken.median_ms < 1000
    assert (taken.device, taken.threads) == ("cpu", 1)

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers import models
from trainers.models import SegmentationNetwork, Taps, deeplabv3, erfnet, espnet
from trainers.teachers.folding import fold_batch_norms

SMALL = (
    deeplabv3.Config(backbone="mobilenetv2_035", head_channels=8, rates=(2, 4)),
    erfnet.Config(),
    espnet.Config(),
)


def trained(network: SegmentationNetwork) -> SegmentationNetwork:
    """With statistics and scales as training leaves them."""
    draw = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features, generator=draw)
            part.running_var = 0.5 + torch.rand(part.num_features, generator=draw)
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=draw)
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


@pytest.mark.parametrize("config", SMALL, ids=lambda config: config.architecture)
def test_it_computes_the_same_with_fewer_normalisations(config: object) -> None:
    torch.manual_seed(0)
    network, images = trained(models.build(config, num_classes=5)), torch.randn(1, 3, 64, 96)
    before, expected = norms(network), network(images)
    folded = fold_batch_norms(network)
    assert 0 < folded == before - norms(network)
    if config == SMALL[0]:
        assert not norms(network)
    found = network(images)
    for name, tap in expected.items():
        assert torch.allclose(found[name], tap, rtol=1e-3, atol=1e-3 * float(tap.abs().max())), name
    assert {part.dtype for part in network.parameters()} == {torch.float32}
    assert not any(part.requires_grad for part in network.parameters())


class Shared(SegmentationNetwork):
    """A convolution that two layers read, one whose normalisation is called twice, and one that is nobody's alone."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.twice, self.alone = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))
        self.channels = {"logits": 3}

    def forward(self, images: Tensor) -> Taps:
        first = self.read_twice(images)
        second = self.norms[0](first) + first
        third = self.norms[1](self.twice(second)) + self.norms[1](second)
        return {"logits": F.relu(self.norms[2](self.alone(third)))}


def test_only_what_a_normalisation_alone_reads_is_folded_into() -> None:
    torch.manual_seed(0)
    network, images = trained(Shared()), torch.randn(1, 3, 8, 8)
    expected = network(images)["logits"]
    assert fold_batch_norms(network) == 1
    assert [type(norm) for norm in network.norms] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.Identity]
    assert torch.allclose(network(images)["logits"], expected, atol=1e-5)


class Odd(Shared):
    """Reads a weight of its own beside the convolution's output."""

    def forward(self, images: Tensor) -> Taps:
        return {"logits": self.norms[2](self.alone(images)) * self.alone.weight.sum()}


def test_a_network_that_would_compute_something_else_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"must compute the same .*'logits' differs by .* set teacher.fold_batch_norm"):
        fold_batch_norms(trained(Odd()))

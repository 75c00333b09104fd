"""Batch norm over two ranks with 3 and 2 images, against PyTorch's over the 5 in one process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from trainers.distributed import batch_norm

SHARES = ((0, 3), (3, 5))
"""First and last image of each rank."""
CHANNELS = 4

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.BatchNorm2d(CHANNELS),
    "without factors": lambda: nn.BatchNorm2d(CHANNELS, affine=False, momentum=0.3),
    "cumulative": lambda: nn.BatchNorm2d(CHANNELS, momentum=None),
    "untracked": lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=False),
    "activated": lambda: BatchNormAct2d(CHANNELS, act_layer=nn.Softplus),
    "frozen": lambda: nn.BatchNorm2d(CHANNELS).eval(),
}


def layer(name: str) -> nn.Module:
    torch.manual_seed(1)
    made = LAYERS[name]().double()
    with torch.no_grad():
        for tensor in made.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2)
    return made


def draws() -> tuple[Tensor, Tensor]:
    """Values far from 0, where their squares lose digits, and what the loss multiplies them with."""
    generator = torch.Generator().manual_seed(2)
    values, factors = (torch.randn(5, CHANNELS, 6, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    return 30 + values * torch.arange(1, CHANNELS + 1).view(1, -1, 1, 1), factors


def found(normalise: nn.Module, images: slice) -> dict[str, Tensor]:
    """Values, first and second derivatives of two steps, and the state that they leave."""
    results = {}
    values, factors = (drawn[images] for drawn in draws())
    for step in range(2):
        step_values = (values + step).requires_grad_()
        normal = normalise(step_values)
        loss = (normal * factors).sin().sum()
        inputs = [step_values, *normalise.parameters()]
        first = torch.autograd.grad(loss, inputs, retain_graph=True)
        (gradient,) = torch.autograd.grad(loss, step_values, create_graph=True)
        second = torch.autograd.grad(gradient.square().sum(), inputs)
        results |= {f"normal {step}": normal.detach(), f"first {step}": first[0], f"second {step}": second[0]}
        named = zip(dict(normalise.named_parameters()), first[1:], second[1:], strict=True)
        results |= {
            f"{order} of {name} {step}": of for name, *both in named for order, of in zip("12", both, strict=True)
        }
    return results | {f"state {name}": tensor.clone() for name, tensor in normalise.state_dict().items()}


class DefinedKernels:
    """What PyTorch's kernels for CUDA compute, by their definitions, on any device."""

    @staticmethod
    def batch_norm_stats(values: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
        return mean, (variance + eps).rsqrt()

    @staticmethod
    def batch_norm_gather_stats_with_counts(
        values: Tensor, means: Tensor, inverses: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
        momentum: float, eps: float, counts: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        weights = counts.view(-1, 1) / counts.sum()
        mean = (weights * means).sum(0)
        variance = (weights * (inverses**-2 - eps + (means - mean) ** 2)).sum(0)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * counts.sum() / (counts.sum() - 1), momentum)
        return mean, (variance + eps).rsqrt()

    @staticmethod
    def batch_norm_elemt(
        values: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse: Tensor, eps: float
    ) -> Tensor:
        normal = (values - wide(mean)) * wide(inverse)
        return normal * (1 if weight is None else wide(weight)) + (0 if bias is None else wide(bias))

    @staticmethod
    def batch_norm_backward_reduce(
        gradient: Tensor, values: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor | None, *_: bool
    ) -> tuple[Tensor, ...]:
        total, product = gradient.sum((0, 2, 3)), (gradient * (values - wide(mean))).sum((0, 2, 3))
        return total, product, product * inverse, total

    @staticmethod
    def batch_norm_backward_elemt(
        gradient: Tensor, values: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor | None,
        total: Tensor, product: Tensor, counts: Tensor,
    ) -> Tensor:  # fmt: skip
        means = wide(total / counts.sum()) + (values - wide(mean)) * wide(inverse**2 * product / counts.sum())
        return (gradient - means) * wide(inverse if weight is None else inverse * weight)


def wide(numbers: Tensor) -> Tensor:
    return numbers.view(1, -1, 1, 1)


def by_kernels(synchronised: nn.Module) -> nn.Module:
    """The layer as it is on a GPU."""
    for name in (name for name in vars(DefinedKernels) if name.startswith("batch_norm")):
        setattr(torch, name, getattr(DefinedKernels, name))

    def gather(joined: Tensor, part: Tensor) -> None:  # which gloo has not
        dist.all_gather(list(joined.view(len(SHARES), -1)), part)

    dist.all_gather_into_tensor = gather
    assert isinstance(synchronised, batch_norm.SynchronisedBatchNorm) and synchronised.momentum is not None
    momentum = synchronised.momentum
    synchronised._across_ranks = lambda values: synchronised._by_kernels(values, momentum)  # type: ignore[method-assign]
    return synchronised


def rank_main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SHARES))
    images = slice(*SHARES[rank])
    results: dict[str, Any] = {name: found(batch_norm.synchronise(layer(name)), images) for name in LAYERS}
    for name in LAYERS:
        if name != "cumulative":  # whose momentum is none
            results[f"{name}, kernels"] = found(by_kernels(batch_norm.synchronise(layer(name))), images)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("batch_norm")
    spawn(rank_main, args=(folder,), nprocs=len(SHARES))  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SHARES))]


@pytest.mark.parametrize("kernels", ["", ", kernels"])
@pytest.mark.parametrize("name", LAYERS)
def test_two_ranks_are_one_with_their_joined_batch(
    ranks: list[dict[str, dict[str, Tensor]]], name: str, kernels: str
) -> None:
    if name == "cumulative" and kernels:
        pytest.skip("is computed by the definition on GPUs too")
    expected = found(layer(name), slice(None))
    together = [rank[name + kernels] for rank in ranks]
    assert all(one.keys() == expected.keys() for one in together)
    for what, value in expected.items():
        parts = [one[what] for one in together]
        if what.startswith(("normal", "first", "second")):
            joined = torch.cat(parts)
        elif what.startswith("state"):
            joined = parts[0]
            assert torch.equal(*parts)
        else:  # of a factor, whose gradients DDP adds up
            joined = parts[0] + parts[1]
        torch.testing.assert_close(joined, value, rtol=1e-9, atol=1e-9, msg=lambda text, what=what: f"{what}: {text}")


def test_names_modes_and_parameters_stay() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 1), BatchNormAct2d(CHANNELS), nn.Sequential(nn.BatchNorm2d(CHANNELS))
    )
    network[2].eval()
    before, parameters = network.state_dict(), list(network.parameters())
    made = batch_norm.synchronise(network)
    assert made is network
    assert list(before) == list(made.state_dict())
    assert all(one is other for one, other in zip(parameters, made.parameters(), strict=True))
    layers = [module for module in made.modules() if isinstance(module, batch_norm.SynchronisedBatchNorm)]
    assert [one.training for one in layers] == [True, False]


def test_alone_it_is_the_layer_that_it_replaces() -> None:
    for name in LAYERS:
        one, other = found(layer(name), slice(None)), found(batch_norm.synchronise(layer(name)), slice(None))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[what], other[what]) for what in one)


def test_someone_elses_layer_stays() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    own = Own(CHANNELS)
    assert batch_norm.synchronise(own) is own


def test_a_vector_is_refused() -> None:
    made = batch_norm.synchronise(nn.BatchNorm1d(CHANNELS))
    with pytest.raises(ValueError, match=r"needs \[B, C, \.\.\.\], but got \[4\]; add a batch axis"):
        made(torch.zeros(CHANNELS))

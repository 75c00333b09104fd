"""Random taps and labels for the contracts, small and odd: three images, so that two ranks get uneven halves."""

import pytest
import torch
from torch import Tensor

from trainers.data import IGNORE
from trainers.distributed.means import Mean
from trainers.models import Taps

CLASSES = 5
STUDENT_CHANNELS = {"logits": CLASSES, "aux": CLASSES, "features": 6}
TEACHER_CHANNELS = {"logits": CLASSES, "aux": CLASSES, "features": 8}
LOGITS_SIZE = (9, 13)
LABELS_SIZE = (65, 97)


def random_taps(channels: dict[str, int], seed: int, *, scale: float = 1.0) -> Taps:
    """Taps [3, channels, 9, 13] of a network; its features are activated."""
    generator = torch.Generator().manual_seed(seed)
    taps = {name: scale * torch.randn(3, count, *LOGITS_SIZE, generator=generator) for name, count in channels.items()}
    taps["features"] = taps["features"].relu()
    return taps


def random_labels(seed: int) -> Tensor:
    """Blocks of classes, like real label maps, with unlabelled pixels unevenly over the images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(CLASSES, (3, 9, 13), generator=generator)
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels = labels[:, : LABELS_SIZE[0], : LABELS_SIZE[1]].clone()
    labels[0, :30] = IGNORE
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = IGNORE
    return labels


def leaves(taps: Taps, dtype: torch.dtype = torch.float32) -> Taps:
    """Copies that take gradients."""
    return {name: tap.to(dtype).detach().clone().requires_grad_() for name, tap in taps.items()}


class RandomBatch:
    """Base of contracts that are given a batch: the taps of both networks, and labels."""

    @pytest.fixture
    def student(self) -> Taps:
        return leaves(random_taps(STUDENT_CHANNELS, 1))

    @pytest.fixture
    def teacher(self) -> Taps:
        return leaves(random_taps(TEACHER_CHANNELS, 2, scale=2.0))

    @pytest.fixture
    def labels(self) -> Tensor:
        return random_labels(3)


def total(means: dict[str, Mean]) -> Tensor:
    """The sum of all terms."""
    return torch.stack([mean.value for mean in means.values()]).sum()


def values(means: dict[str, Mean]) -> dict[str, float]:
    """Every term as a number."""
    return {name: mean.value.item() for name, mean in means.items()}


def halves(taps: Taps) -> tuple[Taps, Taps]:
    """The first image, and the two others."""
    return {n: tap[:1] for n, tap in taps.items()}, {n: tap[1:] for n, tap in taps.items()}


def joined(first: dict[str, Mean], second: dict[str, Mean]) -> dict[str, float]:
    """What `global_means` makes of two ranks, without processes."""
    return {
        name: ((mean.total + second[name].total) / (mean.count + second[name].count)).item()
        for name, mean in first.items()
    }


def assert_zero_gradient(loss: Tensor, taps: Taps) -> None:
    """Assert that the loss depends on some of the taps, and on none of their values."""
    gradients = torch.autograd.grad(loss, list(taps.values()), allow_unused=True)
    assert any(gradient is not None for gradient in gradients), "the graph is dead"
    for gradient in gradients:
        assert gradient is None or not gradient.any()

"""Sizes of the published networks with 19 classes: parameters and, at 512x1024, multiply-accumulates, to the unit."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers import models

CIRKD = [
    ("deeplabv3(resnet101)", 61_118_950, 515_837_001_728),
    ("deeplabv3(resnet101, aux=False)", 58_754_259, 496_469_803_008),
    ("deeplabv3(resnet101, head_channels=512)", 79_084_262, 658_685_034_496),
    ("deeplabv3(resnet50)", 42_126_822, 360_681_308_160),
    ("deeplabv3(resnet18)", 13_607_974, 129_373_896_704),
    ("deeplabv3(resnet18, aux=False)", 13_459_155, 128_155_975_680),
    ("deeplabv3(mobilenetv2_100, aux=False)", 3_233_171, 26_635_051_008),
    ("pspnet(resnet101)", 68_072_166, 542_772_297_728),
    ("pspnet(resnet101, head_channels=256)", 58_629_606, 465_423_040_512),
    ("pspnet(resnet50)", 49_080_038, 387_616_604_160),
    ("pspnet(resnet18)", 12_919_334, 122_129_350_656),
    ("pspnet(mobilenetv2_100, aux=False)", 2_654_739, 21_401_798_656),
]
"""Network, parameters, multiply-accumulates of its convolutions; CIRKD's and RDD's."""

SKD = [
    ("pspnet_skd(resnet101)", 70_437_350, 574_932_147_200),
    ("pspnet_skd(resnet101, aux=False)", 65_707_475, 535_285_184_000),
    ("pspnet_skd(resnet18)", 13_068_262, 125_831_856_896),
    ("pspnet_skd(resnet18, aux=False)", 12_770_515, 123_338_627_456),
    ("pspnet_skd(resnet18, width=0.5)", 3_271_686, 31_524_783_488),
    ("pspnet_skd(resnet18, width=0.5, head_channels=128)", 4_004_038, 37_109_878_528),
]
"""The same of SKD, IFVD and IDD."""

WITH_BIASES = [
    ("espnet", 363_462, 4_421_869_568.0),
    ("espnet(q=3)", 201_542, 3_111_149_568.0),
    ("enet", 351_660, 3_611_688_960.0),
    ("erfnet", 2_066_642, 25_595_412_480.0),
    ("fcn8s", 134_456_985, 333_940_677_688.5),
    ("refinenet", 118_047_827, 525_675_446_272.0),
    ("ocnet", 62_584_294, 548_543_733_075.0),
    ("icnet", 28_298_376, 73_630_220_288.0),
    ("icnet(lean=True)", 26_249_376, 28_533_063_680.0),
]
"""Network, parameters, multiply-accumulates plus half the biases' additions; those of the IDD paper's table 2.

The lean ICNet is published nowhere; it stands beside the literature's 26.50 M and 28.30 G.
"""


def on_meta(text: str, num_classes: int = 19) -> models.SegmentationNetwork:
    with torch.device("meta"):
        return models.build(models.named(text), num_classes=num_classes).eval()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_accumulates(network: nn.Module) -> tuple[int, float]:
    """Of every Conv2d in one forward at 512x1024: those of its kernel, and half an operation per bias."""
    counts: list[tuple[int, float]] = []

    def count(layer: Any, _: Any, output: Tensor) -> None:
        halves = 0.0 if layer.bias is None else output.numel() / 2
        counts.append((output.numel() * layer.weight[0].numel(), halves))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, 3, 512, 1024, device="meta"))
    kernels, biases = zip(*counts, strict=True)
    return sum(kernels), sum(biases)


@pytest.mark.parametrize(("text", "count", "operations"), CIRKD + SKD)
def test_parameters_and_operations_are_the_published_ones(text: str, count: int, operations: int) -> None:
    network = on_meta(text)
    assert parameters(network) == count
    assert multiply_accumulates(network)[0] == operations


@pytest.mark.parametrize(("text", "count", "operations"), WITH_BIASES)
def test_parameters_and_operations_with_biases_are_the_published_ones(text: str, count: int, operations: float) -> None:
    network = on_meta(text)
    assert parameters(network) == count
    assert sum(multiply_accumulates(network)) == operations


@pytest.mark.parametrize(
    ("text", "classes", "count"),
    [("espnet", 20, 365_109), ("enet", 20, 351_804), ("erfnet", 20, 2_066_836), ("refinenet", 21, 118_052_437)],
)
def test_parameters_for_other_numbers_of_classes_are_the_published_ones(text: str, classes: int, count: int) -> None:
    assert parameters(on_meta(text, classes)) == count

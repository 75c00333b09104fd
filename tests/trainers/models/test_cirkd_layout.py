"""The published names, written out here a second time from the published modules' structure."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import SHARED
from trainers import models
from trainers.models import named
from trainers.models.cirkd_layout import from_published, published_names
from trainers.models.state_files import unwrapped

SMALL = "deeplabv3(mobilenetv2_100, head_channels=16, aux=False)"
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
AUX_CLASSIFIER = ("auxlayer.block.4.weight", "auxlayer.block.4.bias")
NETWORKS = [
    f"{architecture}({backbone})"
    for architecture in ("deeplabv3", "pspnet")
    for backbone in (*DEPTHS, "mobilenetv2_100, aux=False")
]


def norm(name: str) -> Iterator[str]:
    yield from (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))


def convolution(name: str, normalised: str) -> Iterator[str]:
    yield f"{name}.weight"
    yield from norm(normalised)


def resnet(name: str) -> Iterator[str]:
    for place in (1, 2, 3):
        yield from convolution(f"pretrained.conv{place}", f"pretrained.bn{place}")
    for layer, depth in enumerate(DEPTHS[name], start=1):
        for block in range(depth):
            here = f"pretrained.layer{layer}.{block}"
            for place in (1, 2) if name == "resnet18" else (1, 2, 3):
                yield from convolution(f"{here}.conv{place}", f"{here}.bn{place}")
            if block == 0:
                yield from convolution(f"{here}.downsample.0", f"{here}.downsample.1")


def mobilenet() -> Iterator[str]:
    yield from convolution("pretrained.net.features.0.0", "pretrained.net.features.0.1")
    for block in range(1, 18):
        for place in (0, 3) if block == 1 else (0, 3, 6):
            here = f"pretrained.net.features.{block}.conv"
            yield from convolution(f"{here}.{place}", f"{here}.{place + 1}")


def head(architecture: str) -> Iterator[str]:
    if architecture == "deeplabv3":
        for branch in ("b0", "b1.block", "b2.block", "b3.block"):
            yield from convolution(f"head.aspp.{branch}.0", f"head.aspp.{branch}.1")
        yield from convolution("head.aspp.b4.gap.1", "head.aspp.b4.gap.2")
        yield from convolution("head.aspp.project.0", "head.aspp.project.1")
    else:
        for level in (1, 2, 3, 4):
            yield from convolution(f"head.psp.conv{level}.0", f"head.psp.conv{level}.1")
    yield from convolution("head.block.0", "head.block.1")
    classifier = "head.block.4" if architecture == "deeplabv3" else "head.classifier"
    yield from (f"{classifier}.weight", f"{classifier}.bias")


def written_out(network: str) -> list[str]:
    architecture, _, backbone = network.removesuffix(")").partition("(")
    names = list(resnet(backbone) if backbone in DEPTHS else mobilenet()) + list(head(architecture))
    if backbone in DEPTHS:
        names += [*convolution("auxlayer.block.0", "auxlayer.block.1"), *AUX_CLASSIFIER]
    return names


def ours(network: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return models.build(named(network), num_classes=5).state_dict()


def published(network: str = SMALL) -> dict[str, Tensor]:
    """A checkpoint in the published layout, and in its order."""
    names = published_names(ours(network), named(network))
    tensors = models.build(named(network), num_classes=5).state_dict()
    return {names[name]: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_has_its_published_name(network: str) -> None:
    assert list(published_names(ours(network), named(network)).values()) == written_out(network)


def test_what_is_written_out_here_is_what_was_published() -> None:
    manifest = SHARED / "golden" / "models" / "manifest.json"
    if not manifest.exists():
        pytest.skip(f"the published networks' names are not here: {manifest}")
    places = {"psp": "pspnet", "deeplab_mobile": "deeplabv3", "mobilenetv2": "mobilenetv2_100, aux=False"}
    cases = json.loads(manifest.read_text())["fixtures"]
    assert cases
    for case in cases:
        architecture, backbone = (places.get(case[key], case[key]) for key in ("model", "backbone"))
        assert [name for name, _ in case["state_dict"]] == written_out(f"{architecture}({backbone})")


@pytest.mark.parametrize("wrap", [False, True])
def test_tensors_arrive_whole(wrap: bool) -> None:
    stored: dict[str, Any] = published()
    expected = {name: tensor.clone() for name, tensor in stored.items()}
    if wrap:
        stored = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in stored.items()}}
    network = models.build(named(SMALL), num_classes=5)
    network.load_state_dict(from_published(unwrapped(stored, source="teacher.pth"), named(SMALL), source="teacher.pth"))
    found = published_names(network.state_dict(), named(SMALL))
    assert all(torch.equal(tensor, expected[found[name]]) for name, tensor in network.state_dict().items())


MISSING, SHAPED = "pretrained.net.features.3.conv.4.bias", "head.aspp.b2.block.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({MISSING: None}, rf"in teacher.pth '{MISSING}' of shape \[144\] is missing; name the network"),
        (
            {MISSING: None, SHAPED: torch.zeros(8, 320, 3, 3)},
            rf"'{MISSING}' of shape \[144\] is missing \(and 1 more\);",
        ),
        ({SHAPED: torch.zeros(8, 320, 3, 3)}, rf"'{SHAPED}' of shape \[16, 320, 3, 3\] has \[8, 320, 3, 3\];"),
        (
            {"auxlayer.block.4.bias": torch.zeros(5)},
            r"in teacher.pth 'auxlayer.block.4.bias' of shape \[5\] has none; name the network",
        ),
        ({"head.block.4.weight": None}, r"'head.block.4.weight' of shape \[classes, channels, 1, 1\], but has none;"),
        ({"head.block.4.weight": torch.zeros(())}, r"'head.block.4.weight' of shape \[classes, channels, 1, 1\], but"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    stored = {name: tensor for name, tensor in (published() | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        from_published(stored, named(SMALL), source="teacher.pth")


@pytest.mark.parametrize("network", ["deeplabv3(mobilenetv2_035)", "pspnet(resnet34)"])
def test_a_network_that_was_not_published_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=r"the cirkd layout holds deeplabv3 and pspnet on .*; name one of those"):
        from_published(published(), named(network), source="teacher.pth")

"""Backbones in files: where a file of ImageNet weights, or of a whole network, has each tensor of a timm backbone.

Read besides timm's own names are those of the deep-stem ResNets and MobileNetV2 that SKD, CIRKD and RDD start from
(conv1 to conv3 with bn1 to bn3, layer1 to layer4, fc). Nothing is matched by position, so what does not fit can be
named; what a file has more, such as a classifier, is left out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

Rules = Mapping[str, str | Callable[[re.Match[str]], str]]
"""What begins one of our names, as a pattern, and what stands there in the published one."""

PREFIXES = ("", "encoder.stages.", "pretrained.", "pretrained.net.", "backbone.", "encoder.")
"""Where whole networks have their backbone: a backbone's own file, ours, CIRKD's, torchvision's, other libraries'."""

_FIRST_BLOCKS = (1, 2, 4, 7, 11, 14, 17)
"""Place of the first block of each of timm's groups among the published, flat `features`."""
_SEPARABLE = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}
_INVERTED = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}


def _mobilenet_block(ours: re.Match[str]) -> str:
    group, block, layer = int(ours[1]), int(ours[2]), ours[3]
    places = _INVERTED if group else _SEPARABLE
    return f"features.{_FIRST_BLOCKS[group] + block}.conv.{places[layer]}"


_RESNET: Rules = {
    r"conv1\.0\b": "conv1",
    r"conv1\.1\b": "bn1",
    r"conv1\.3\b": "conv2",
    r"conv1\.4\b": "bn2",
    r"conv1\.6\b": "conv3",
    r"bn1\b": "bn3",
    r"layer": "layer",
}
_MOBILENET: Rules = {
    r"conv_stem\b": "features.0.0",
    r"bn1\b": "features.0.1",
    r"blocks\.(\d+)\.(\d+)\.(\w+)": _mobilenet_block,
}
PUBLISHED: Mapping[str, Rules] = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101"), _RESNET),
    "mobilenetv2_100": _MOBILENET,
}
"""Of the backbones that SKD, CIRKD and RDD publish."""


def renamed(name: str, rules: Rules) -> str:
    """The published name of one of ours."""
    pattern = next(pattern for pattern in rules if re.match(pattern, name))
    return re.sub(f"^{pattern}", rules[pattern], name)


def names_in_file(expected: Iterable[str], stored: Iterable[str], backbone: str) -> dict[str, str]:
    """The name in a file of each tensor that a backbone has.

    Of all readings of the file the one under which it has most of the tensors; not all of them need be there.

    Args:
        expected: names of timm's `features_only` network.
        stored: names in the file.
        backbone: its name.
    """
    expected, stored = list(expected), set(stored)
    readings = _readings(expected, stored, backbone)
    return max(readings, key=lambda reading: sum(name in stored for name in reading.values()))


def _readings(expected: list[str], stored: set[str], backbone: str) -> Iterator[dict[str, str]]:
    rules = PUBLISHED.get(backbone)
    for prefix in PREFIXES:
        inner = [name.removeprefix(prefix) for name in stored if name.startswith(prefix)]
        yield {name: prefix + name for name in expected}
        # what timm does to names in a `features_only` network: a first level of sequences is flattened, or all wrapped
        plain = {name.replace(".", "_", 1): name for name in inner}
        yield {name: prefix + plain.get(name, name.removeprefix("model.")) for name in expected}
        if rules:
            yield {name: prefix + renamed(name, rules) for name in expected}

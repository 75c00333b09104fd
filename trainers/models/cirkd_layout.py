"""Checkpoints in the key layout of CIRKD and RDD: DeepLabV3 and PSPNet on deep-stem ResNets and on MobileNetV2.

Our layers stand in other modules than theirs, but every tensor has one counterpart of the same shape. The names are
those of the published state dicts; nothing is matched by position, so what does not fit can be named.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainers import models
from trainers.models.weights import check_shapes

Rules = Mapping[str, str | Callable[[re.Match[str]], str]]
"""What begins one of our names, as a pattern, and what stands there in the published one."""

_FIRST_BLOCKS = (1, 2, 4, 7, 11, 14, 17)
"""Place of the first block of each of timm's groups among the published, flat `features`."""
_SEPARABLE = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}
_INVERTED = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}


def _mobilenet_block(ours: re.Match[str]) -> str:
    group, block, layer = int(ours[1]), int(ours[2]), ours[3]
    places = _INVERTED if group else _SEPARABLE
    return f"pretrained.net.features.{_FIRST_BLOCKS[group] + block}.conv.{places[layer]}"


_RESNET: Rules = {
    r"encoder\.stages\.conv1\.0\b": "pretrained.conv1",
    r"encoder\.stages\.conv1\.1\b": "pretrained.bn1",
    r"encoder\.stages\.conv1\.3\b": "pretrained.conv2",
    r"encoder\.stages\.conv1\.4\b": "pretrained.bn2",
    r"encoder\.stages\.conv1\.6\b": "pretrained.conv3",
    r"encoder\.stages\.bn1\b": "pretrained.bn3",
    r"encoder\.stages\.layer": "pretrained.layer",
}
_MOBILENET: Rules = {
    r"encoder\.stages\.conv_stem\b": "pretrained.net.features.0.0",
    r"encoder\.stages\.bn1\b": "pretrained.net.features.0.1",
    r"encoder\.stages\.blocks\.(\d+)\.(\d+)\.(\w+)": _mobilenet_block,
}
_BACKBONES: Mapping[str, Rules] = {
    **dict.fromkeys(("resnet18", "resnet50", "resnet101"), _RESNET),
    "mobilenetv2_100": _MOBILENET,
}
_HEADS: Mapping[str, Rules] = {
    "deeplabv3": {
        r"head\.0\.branches\.0\b": "head.aspp.b0",
        r"head\.0\.branches\.(\d+)": r"head.aspp.b\1.block",
        r"head\.0\.image\.0\b": "head.aspp.b4.gap.1",
        r"head\.0\.image\.1\b": "head.aspp.b4.gap.2",
        r"head\.0\.project\b": "head.aspp.project",
        r"head\.2\b": "head.block",
        r"classifier\b": "head.block.4",
    },
    "pspnet": {
        r"head\.0\.levels\.(\d+)": lambda ours: f"head.psp.conv{int(ours[1]) + 1}",
        r"head\.1\b": "head.block",
        r"classifier\b": "head.classifier",
    },
}
_AUX: Rules = {r"aux\.0\b": "auxlayer.block", r"aux\.2\b": "auxlayer.block.4"}


def published_names(names: Iterable[str], config: Any) -> dict[str, str]:
    """The published name of each of the `names` that tensors have in our network of this config.

    Raises:
        ValueError: the layout does not hold this network.
    """
    if config.architecture not in _HEADS or config.backbone not in _BACKBONES:
        raise ValueError(
            f"the cirkd layout holds {' and '.join(_HEADS)} on {', '.join(_BACKBONES)}, but got {config.architecture} "
            f"on {getattr(config, 'backbone', 'no backbone')}; name one of those"
        )
    rules = {**_BACKBONES[config.backbone], **_HEADS[config.architecture], **_AUX}
    return {name: _published(name, rules) for name in names}


def _published(name: str, rules: Rules) -> str:
    pattern = next(pattern for pattern in rules if re.match(pattern, name))
    return re.sub(f"^{pattern}", rules[pattern], name)


def from_published(stored: Mapping[str, Any], config: Any, *, source: str) -> dict[str, Tensor]:
    """The state dict of our network from a published checkpoint; its classifier says how many classes there are.

    Args:
        stored: tensors by published name, each perhaps behind `module.` (DataParallel), or all of them below
            `state_dict`.
        config: of our network.
        source: what messages call the checkpoint.

    Raises:
        ValueError: a network that the layout does not hold; a tensor that is missing, misshapen or left over.
    """
    tensors = _tensors(stored, source)
    (classifier,) = published_names(["classifier.weight"], config).values()
    if classifier not in tensors or tensors[classifier].dim() != 4:
        raise ValueError(
            f"{source} must have a {classifier!r} of shape [classes, channels, 1, 1], but has none; "
            "name the network that was saved"
        )
    with torch.device("meta"):
        ours = models.build(config, num_classes=len(tensors[classifier])).state_dict()
    names = published_names(ours, config)
    expected = {names[name]: tensor for name, tensor in ours.items()}
    check_shapes(tensors, expected, source=source, remedy="with its auxiliary head or with aux=False")
    _refuse_more(tensors, expected, source)
    return {name: tensors[names[name]] for name in ours}


def _tensors(stored: Any, source: str) -> dict[str, Tensor]:
    """Tensors by bare published name."""
    inner = stored.get("state_dict", stored) if isinstance(stored, Mapping) else None
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise ValueError(f"{source} must hold tensors by name, as a state dict, but does not; save its state dict")
    return {str(name).removeprefix("module."): tensor for name, tensor in inner.items()}


def _refuse_more(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    left = [f"{name!r} of shape {list(tensor.shape)}" for name, tensor in tensors.items() if name not in expected]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise ValueError(
            f"every tensor must have its place in the network, but in {source} {left[0]}{more} has none; "
            "name the network that was saved, with its auxiliary head or with aux=False"
        )

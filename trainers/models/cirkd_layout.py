"""Checkpoints in the key layout of CIRKD and RDD: DeepLabV3 and PSPNet on deep-stem ResNets and on MobileNetV2.

Our layers stand in other modules than theirs, but every tensor has one counterpart of the same shape. The names are
those of the published state dicts; nothing is matched by position, so what does not fit can be named.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainers import models
from trainers.models import backbone_files
from trainers.models.backbone_files import Rules, renamed
from trainers.models.layouts import described
from trainers.models.weights import fitting_tensors

_OURS = "encoder.stages."
_BACKBONES = ("resnet18", "resnet50", "resnet101", "mobilenetv2_100")
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
    return {name: _published(name, config) for name in names}


def _published(name: str, config: Any) -> str:
    if not name.startswith(_OURS):
        return renamed(name, {**_HEADS[config.architecture], **_AUX})
    prefix = "pretrained.net." if config.backbone.startswith("mobilenet") else "pretrained."
    return prefix + renamed(name.removeprefix(_OURS), backbone_files.PUBLISHED[config.backbone])


def from_published(stored: Mapping[str, Tensor], config: Any, *, source: str) -> dict[str, Tensor]:
    """The state dict of our network from a published checkpoint; its classifier says how many classes there are.

    Args:
        stored: tensors by published name.
        config: of our network.
        source: what messages call the checkpoint.

    Raises:
        ValueError: a network that the layout does not hold; a tensor that is missing, misshapen, left over or not
            finite.
    """
    (classifier,) = published_names(["classifier.weight"], config).values()
    if classifier not in stored or stored[classifier].dim() != 4:
        raise ValueError(
            f"{source} must have a {classifier!r} of shape [classes, channels, 1, 1], but has none; "
            f"{described(stored)}name the network that was saved"
        )
    with torch.device("meta"):
        network = models.build(config, num_classes=len(stored[classifier]), initial_weights=False)
    names = published_names(network.state_dict(), config)
    remedy = "name the network that was saved, with its auxiliary head or with aux=False"
    tensors = fitting_tensors(stored, network, source=source, names=names, remedy=remedy)
    _refuse_more(stored, names.values(), source)
    return tensors


def _refuse_more(tensors: Mapping[str, Tensor], expected: Iterable[str], source: str) -> None:
    known = set(expected)
    left = [f"{name!r} of shape {list(tensor.shape)}" for name, tensor in tensors.items() if name not in known]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise ValueError(
            f"every tensor must have its place in the network, but in {source} {left[0]}{more} has none; "
            "name the network that was saved, with its auxiliary head or with aux=False"
        )

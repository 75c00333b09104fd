"""Encoders: the last two stages of a timm backbone, dilated to an output stride.

`resnet18`, `resnet34`, `resnet50` and `resnet101` mean the ResNets of the segmentation literature
(PSPNet, arXiv:1612.01105, and the distillation papers after it): a deep stem of three 3x3
convolutions with 64, 64 and 128 channels instead of one 7x7, then a 3x3 max-pool. Every other name
is timm's own network of that name, so `resnet50.a1_in1k` is the ResNet-50 with a 7x7 stem.
Nothing is downloaded unless `weights` asks for it.
"""

import difflib
import warnings
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from timm.layers import Format
from torch import Tensor, nn

from trainers.models.backbone_files import names_in_file
from trainers.models.state_files import read_tensors
from trainers.models.weights import fitting_tensors, refuse_outputs_not_finite, sample_images
from trainers.registry import NEAR
from trainers.resources.faults import MachineFaultError

_DEEP_STEM_NAMES = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50s",
    "resnet101": "resnet101s",
}
"""timm's names for these; it has deep-stem networks, and ImageNet weights, of the last two only."""

# timm starts the last BN weight of each residual block at 0; the literature starts it at 1.
_DEEP_STEM = {"stem_width": 64, "stem_type": "deep", "zero_init_last": False}


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Base of the `Config` of an architecture that stands on an `Encoder`."""

    backbone: str = "resnet18"
    """Any that `Encoder` builds, unless the architecture says otherwise."""
    weights: str = field(default="none", metadata={"path": True})
    """The backbone's: "none", "timm" (ImageNet) or the path of a state-dict file, as docs/models.md lists them."""


class Encoder(nn.Module):
    """A timm `features_only` backbone.

    Where a stage's stride gives way to dilation, its first block keeps the dilation before it: at
    output stride 8 a ResNet has dilation 2 in layer3 and 4 in layer4, but 1 and 2 in the first 3x3
    of each, as in the published networks. MobileNetV2 ends with its last block: the 1280-channel
    convolution is left out.

    On the meta device it has no values, but weights in a file that do not fit or are not finite are refused.
    """

    channels: tuple[int, int]
    """Channels of the stage before the last and of the last."""

    def __init__(self, backbone: str, *, output_stride: int, weights: str = "none", width: float = 1.0) -> None:
        """Build the backbone and fill it.

        Args:
            backbone: one of the deep-stem ResNets named above, or any model name of timm.
            output_stride: input size over the size of the last stage.
            weights: "none" (random), "timm" (ImageNet, from timm's hub or its local cache), or the
                path of a state-dict file that `read_tensors` reads and in which `names_in_file` finds the
                backbone. Tensors that have no place in it, such as a classifier's, are left out.
            width: factor of all channels of a deep-stem ResNet, as in the literature's PSPNet-R18 (0.5).

        Raises:
            ValueError: an unknown backbone; a width of one that has no such factor; one without [B, C, H, W] maps for
                images of any size; weights that do not exist, do not fit, or give outputs that are not finite.

        Warns:
            UserWarning: timm cannot dilate this backbone to the output stride, so that it keeps its own.
        """
        super().__init__()
        if weights == "timm":
            _check_published_weights(backbone)
        self.stages = _stages(backbone, output_stride, width, pretrained=weights == "timm" and has_values())
        before_last, last = self.stages.feature_info.channels()[-2:]
        self.channels = (before_last, last)
        fill_from_file(self.stages, weights, backbone=backbone)

    @property
    def wide(self) -> bool:
        """Whether it ends as wide as ResNet-50 and -101, which have wider heads in the papers."""
        return self.channels[1] >= 2048

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] to the maps of the stage before the last and of the last."""
        before_last, last = self.stages(images)[-2:]
        return before_last, last


class FullyDilatedEncoder(Encoder):
    """The ResNets of the code of SKD, IFVD, TorchDistiller and OCNet, at output stride 8.

    Every 3x3 convolution of layer3 has dilation 2 and every one of layer4 has 4, those of the first blocks too, and the
    max-pool rounds up: images of 512x1024 give maps of 65x129.
    """

    def __init__(self, backbone: str, *, weights: str = "none", width: float = 1.0) -> None:
        """Build the backbone and fill it; see Encoder.

        Raises:
            ValueError: besides those of Encoder, a backbone that is no ResNet.
        """
        super().__init__(backbone, output_stride=8, weights=weights, width=width)
        if not {"maxpool", "layer3", "layer4"} <= dict(self.stages.named_children()).keys():
            raise ValueError(
                f"this architecture stands on a ResNet, but got backbone={backbone!r}; name "
                f"{', '.join(_DEEP_STEM_NAMES)} or another ResNet of timm, such as 'resnet18d', or choose "
                "pspnet or deeplabv3, which take any"
            )
        self.stages.maxpool.ceil_mode = True
        for layer, dilation in ((self.stages.layer3, 2), (self.stages.layer4, 4)):
            for part in layer.modules():
                if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
                    part.dilation = part.padding = (dilation, dilation)


def fill_from_file(network: nn.Module, weights: str, *, backbone: str) -> None:
    """Fill the timm network `backbone` from the file that `weights` names, unless that is "none" or "timm".

    Raises:
        ValueError: no such file, or one whose tensors do not fit or are not finite, also on the meta device; with
            values, also outputs that are not finite on a batch of normalised images.
    """
    if weights in ("none", "timm"):
        return
    stored = read_tensors(weights)
    names = names_in_file(network.state_dict(), stored, backbone)
    fitting = fitting_tensors(stored, network, source=weights, names=names)
    if has_values():
        network.load_state_dict(fitting)
        images = sample_images().float() / 64 - 2  # from -2 to 2, as far as normalised ones reach
        refuse_outputs_not_finite(network, images, source=weights)


def has_values() -> bool:
    """Whether networks built here have values, which they do not on the meta device."""
    return torch.get_default_device().type != "meta"


def _stages(backbone: str, output_stride: int, width: float, *, pretrained: bool) -> Any:
    if not timm.is_model(backbone):
        near = difflib.get_close_matches(backbone, timm.list_models(), n=1, cutoff=NEAR)
        hint = f"did you mean {near[0]!r}?" if near else "timm.list_models() in Python names them all"
        raise ValueError(f"backbone must be the name of a timm model, but got backbone={backbone!r}; {hint}")
    options: dict[str, Any] = {"features_only": True, "pretrained": pretrained}
    if backbone in _DEEP_STEM_NAMES:
        options |= _DEEP_STEM
    if width != 1:
        options |= _scaled(backbone, width)
    name = _DEEP_STEM_NAMES.get(backbone, backbone)
    try:
        stages = create(name, output_stride=output_stride, **options)
    except (TypeError, AssertionError):  # timm's two ways to say that it cannot dilate this one
        stages = create(name, **options)
    _check_maps(stages, backbone, output_stride)
    return stages


def create(name: str, **options: Any) -> Any:
    """The network of timm of this name.

    Raises:
        ValueError: its weights are asked for, but are neither in timm's cache nor to be had.
    """
    try:
        return timm.create_model(name, **options)
    except OSError as error:
        raise MachineFaultError(
            f"weights='timm' needs timm's weights of {name!r} from its cache or the Hugging Face hub, but neither has "
            f"them for this machine ({str(error).partition('. ')[0]}); load them once where there is a connection, by "
            f"timm.create_model({name!r}, pretrained=True), and set HF_HOME to that cache, or give a state-dict file"
        ) from None


def _scaled(backbone: str, width: float) -> dict[str, Any]:
    """timm's options for a narrower or wider ResNet."""
    if backbone not in _DEEP_STEM_NAMES:
        raise ValueError(
            f"width scales {', '.join(_DEEP_STEM_NAMES)}, but got width={width:g} for {backbone!r}; set width=1, "
            "or name a backbone that comes in several widths, such as 'mobilenetv2_050'"
        )
    scaled = [round(channels * width) for channels in (64, 64, 128, 256, 512)]
    return {"stem_width": scaled[0], "channels": tuple(scaled[1:])}


def _check_maps(stages: Any, backbone: str, output_stride: int) -> None:
    """Refuse maps that no head can read; warn of a stride that is not the one asked for."""
    layout = getattr(stages, "output_fmt", Format.NCHW).value
    strides = stages.feature_info.reduction()
    fixed_size = stages.pretrained_cfg.get("fixed_input_size", False)
    given = f"{backbone!r} gives {layout} maps at strides {', '.join(map(str, strides))}"
    if layout != "NCHW" or fixed_size:
        raise ValueError(
            f"backbone must give NCHW maps for images of any size, but {given}"
            f"{' for images of one size' if fixed_size else ''}; "
            "name a convolutional one, such as 'resnet18' or 'mobilenetv2_100'"
        )
    if strides[-1] != output_stride:
        warnings.warn(
            f"backbone is asked for output_stride={output_stride}, but {given} and timm cannot dilate it: the logits "
            f"have stride {strides[-1]}; set output_stride={strides[-1]}, or name one that timm can dilate, "
            "such as 'resnet18' or 'mobilenetv2_100'",
            stacklevel=6,
        )


def _check_published_weights(backbone: str) -> None:
    name = _DEEP_STEM_NAMES.get(backbone, backbone)
    if name == backbone and (backbone in _DEEP_STEM_NAMES or not timm.is_model_pretrained(name)):
        raise ValueError(
            f"weights='timm' needs weights that timm has, but it has none for {backbone!r}"
            f"{' with the deep stem' if backbone in _DEEP_STEM_NAMES else ''}; "
            "give a state-dict file, or name a backbone that has them, such as 'resnet18d'"
        )

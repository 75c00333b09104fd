"""Encoders: the last two stages of a timm backbone, dilated to an output stride.

`resnet18`, `resnet34`, `resnet50` and `resnet101` mean the ResNets of the segmentation literature
(PSPNet, arXiv:1612.01105, and the distillation papers after it): a deep stem of three 3x3
convolutions with 64, 64 and 128 channels instead of one 7x7, then a 3x3 max-pool. Every other name
is timm's own network of that name, so `resnet50.a1_in1k` is the ResNet-50 with a 7x7 stem.
Nothing is downloaded unless `weights` asks for it.
"""

import difflib
from typing import Any

import timm
import torch
from timm.layers import Format
from torch import Tensor, nn

from trainers.models.weights import fitting_tensors, read_tensors

_DEEP_STEM_NAMES = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50s",
    "resnet101": "resnet101s",
}
"""timm's names for these; it has deep-stem networks, and ImageNet weights, of the last two only."""

# timm starts the last BN weight of each residual block at 0; the literature starts it at 1.
_DEEP_STEM = {"stem_width": 64, "stem_type": "deep", "zero_init_last": False}


class Encoder(nn.Module):
    """A timm `features_only` backbone.

    Where a stage's stride gives way to dilation, its first block keeps the dilation before it: at
    output stride 8 a ResNet has dilation 2 in layer3 and 4 in layer4, but 1 and 2 in the first 3x3
    of each, as in the published networks. MobileNetV2 ends with its last block: the 1280-channel
    convolution is left out.

    On the meta device no value of a weight is read, but all that does not fit is refused.
    """

    channels: tuple[int, int]
    """Channels of the stage before the last and of the last."""

    def __init__(self, backbone: str, *, output_stride: int, weights: str = "none", width: float = 1.0) -> None:
        """Build the backbone and fill it.

        Args:
            backbone: one of the deep-stem ResNets named above, or any model name of timm.
            output_stride: input size over the size of the last stage.
            weights: "none" (random), "timm" (ImageNet, from timm's hub or its local cache), or the
                path of a state-dict file (.safetensors, or a .pth read with `weights_only`) with
                the names and shapes of `stages`. Tensors that have no place in the backbone, such
                as a classifier's, are left out.

            width: factor of all channels of a deep-stem ResNet, as in the literature's PSPNet-R18 (0.5).

        Raises:
            ValueError: an unknown backbone; a width of one that has no such factor; one without [B, C, H, W] maps at
                this stride for images of any size; weights that do not exist or do not fit.
        """
        super().__init__()
        from_timm, from_file = weights == "timm", weights not in ("none", "timm")
        if from_timm:
            _check_published_weights(backbone)
        values = torch.get_default_device().type != "meta"
        self.stages = _stages(backbone, output_stride, width, pretrained=from_timm and values)
        before_last, last = self.stages.feature_info.channels()[-2:]
        self.channels = (before_last, last)
        if from_file:
            fitting = fitting_tensors(read_tensors(weights), self.stages, source=weights)
            if values:
                self.stages.load_state_dict(fitting)

    @property
    def wide(self) -> bool:
        """Whether it ends as wide as ResNet-50 and -101, which have wider heads in the papers."""
        return self.channels[1] >= 2048

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] to the maps of the stage before the last and of the last."""
        before_last, last = self.stages(images)[-2:]
        return before_last, last


def _stages(backbone: str, output_stride: int, width: float, *, pretrained: bool) -> Any:
    if not timm.is_model(backbone):
        near = difflib.get_close_matches(backbone, timm.list_models(), n=1, cutoff=0)[0]
        raise ValueError(
            f"backbone must be the name of a timm model, but got backbone={backbone!r}; did you mean {near!r}?"
        )
    options: dict[str, Any] = {"features_only": True, "pretrained": pretrained}
    if backbone in _DEEP_STEM_NAMES:
        options |= _DEEP_STEM
    if width != 1:
        options |= _scaled(backbone, width)
    name = _DEEP_STEM_NAMES.get(backbone, backbone)
    try:
        stages = timm.create_model(name, output_stride=output_stride, **options)
    except (TypeError, AssertionError):  # timm's two ways to say that it cannot dilate this one
        stages = timm.create_model(name, **options)
    _check_maps(stages, backbone, output_stride)
    return stages


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
    layout = getattr(stages, "output_fmt", Format.NCHW).value
    strides = stages.feature_info.reduction()
    fixed_size = stages.pretrained_cfg.get("fixed_input_size", False)
    if strides[-1] == output_stride and layout == "NCHW" and not fixed_size:
        return
    raise ValueError(
        f"backbone must give NCHW maps at output_stride={output_stride} for images of any size, "
        f"but {backbone!r} gives {layout} maps at strides {', '.join(map(str, strides))}"
        f"{' for images of one size' if fixed_size else ''}; "
        "name one that timm can dilate, such as 'resnet18' or 'mobilenetv2_100'"
    )


def _check_published_weights(backbone: str) -> None:
    name = _DEEP_STEM_NAMES.get(backbone, backbone)
    if name == backbone and (backbone in _DEEP_STEM_NAMES or not timm.is_model_pretrained(name)):
        raise ValueError(
            f"weights='timm' needs weights that timm has, but it has none for {backbone!r}"
            f"{' with the deep stem' if backbone in _DEEP_STEM_NAMES else ''}; "
            "give a state-dict file, or name a backbone that has them, such as 'resnet18d'"
        )

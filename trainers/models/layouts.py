"""Whose names the tensors of a file have: libraries told apart, for messages about a file that does not fit."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Layout(NamedTuple):
    """Names by which a library calls the tensors of some networks.

    Attributes:
        library: who writes such files.
        patterns: each is met by at least one name.
        remedy: what such a file can be used for here, where it can.
    """

    library: str
    patterns: tuple[str, ...]
    remedy: str = ""


# the first that fits; whoever builds on another library keeps some of its names, and stands above it
LAYOUTS = (
    Layout("kdstudy, of a whole network", (r"^encoder\.stages\.", r"^(head|classifier)\.")),
    Layout(
        "Hugging Face transformers",
        (r"\.(convolution|normalization)\.|(^|\.)(embedder|embeddings|patch_embeddings)\.|^segformer\.",),
    ),
    Layout("mmsegmentation", (r"^backbone\.", r"^(decode_head|auxiliary_head)\.")),
    Layout("mmsegmentation, of a ResNet-v1c backbone", (r"^stem\.\d", r"^layer1\.")),
    Layout("detectron2", (r"(^|\.)(stem\.conv1\.norm|res2\.0|bottom_up)\.",)),
    Layout("segmentation_models_pytorch", (r"^encoder\.", r"^decoder\.", r"^segmentation_head\.")),
    Layout("torchvision, of a segmentation network", (r"^backbone\.", r"^(aux_)?classifier\.")),
    Layout(
        "CIRKD and RDD, of a whole network",
        (r"^pretrained\.", r"^(head|auxlayer)\."),
        "`kdstudy convert FILE --from cirkd` makes a teacher of it, and its backbone may be named as weights; ",
    ),
    Layout(
        "SKD, IFVD or TorchDistiller, of a whole network",
        (r"^conv3\.weight$", r"^(head|dsn|pspmodule)\."),
        "its backbone is a deep-stem one, resnet18 to resnet101 here; ",
    ),
    Layout(
        "SKD, CIRKD and RDD, of a deep-stem ResNet",
        (r"^conv3\.weight$", r"^layer1\."),
        "as backbone that is resnet18 to resnet101; ",
    ),
    Layout("timm, of a ResNet with a deep stem", (r"^conv1\.\d+\.weight$", r"^layer1\.")),
    Layout(
        "torchvision or timm, of a ResNet with one 7x7 convolution as stem",
        (r"^conv1\.weight$", r"^layer1\."),
        "as backbone that is named with a tag of timm, as in resnet18.tv_in1k; ",
    ),
    Layout("timm, of an EfficientNet or a MobileNet", (r"^conv_stem\.", r"^blocks\.")),
    Layout("timm, of a ConvNeXt or a like network", (r"^stem[._]\d", r"^stages[._]\d")),
    Layout("torchvision, of a VGG or a MobileNet", (r"^features\.\d", r"^classifier\.")),
)


def layout_of(names: Iterable[str]) -> Layout | None:
    """The layout that tensors of these names are in, None where it is not known."""
    names = tuple(names)
    return next((layout for layout in LAYOUTS if _fits(layout, names)), None)


def _fits(layout: Layout, names: tuple[str, ...]) -> bool:
    return all(any(re.search(pattern, name) for name in names) for pattern in layout.patterns)


def described(names: Iterable[str]) -> str:
    """Part of a message: whose names these are, and what that means for their use; "" where that is not known."""
    layout = layout_of(names)
    return f"its names are those of {layout.library}; {layout.remedy}" if layout else ""

"""`models.named`: a network as one line of text."""

import pytest

from trainers import models
from trainers.models import deeplabv3, espnet, pspnet, pspnet_skd


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("espnet", espnet.Config()),
        ("espnet()", espnet.Config()),
        ("espnet(q=3)", espnet.Config(q=3)),
        ("deeplabv3(resnet34)", deeplabv3.Config(backbone="resnet34")),
        (" pspnet( convnextv2_tiny )", pspnet.Config(backbone="convnextv2_tiny")),
        ("pspnet(resnet50.a1_in1k)", pspnet.Config(backbone="resnet50.a1_in1k")),
        ("pspnet_skd(resnet18, width=0.5)", pspnet_skd.Config(backbone="resnet18", width=0.5)),
        ("deeplabv3(aux=False, rates=[6, 12])", deeplabv3.Config(aux=False, rates=(6, 12))),
        ("deeplabv3('resnet18', weights=timm)", deeplabv3.Config(weights="timm")),
        ("deeplabv3(resnet18, weights='/a/b.pth')", deeplabv3.Config(weights="/a/b.pth")),
    ],
)
def test_a_text_names_a_config(text: str, config: object) -> None:
    assert models.named(text) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deeplab(resnet18)", "but got 'deeplab' in 'deeplab.resnet18.'; did you mean 'deeplabv3'"),
        ("espnet(resnet18)", "backbone: no such key"),
        ("deeplabv3(resnet18, widht=0.5)", "widht: no such key; did you mean 'width'"),
        ("deeplabv3(resnet18, width=-1)", "width: input should be greater than 0, but got -1"),
        ("pspnet(architecture=deeplabv3)", "architecture: input should be 'pspnet'"),
        *(
            (text, r"named as ARCHITECTURE or ARCHITECTURE\(BACKBONE, option=value\), but got .*; write for example")
            for text in ("", "3", "deeplabv3(resnet18", "deeplabv3(a, b)", "deeplabv3(a, backbone=b)", "pspnet(**x)")
        ),
    ],
)
def test_what_names_no_network_is_refused_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.named(text)

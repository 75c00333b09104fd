import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import SHARED
from trainers import models, registry
from trainers.models import SegmentationNetwork, Taps, deeplabv3, pspnet
from trainers.models.cirkd_layout import from_published
from trainers.models.encoder import Encoder
from trainers.testing import ModelContract

CLASSES = 5
DEEPLAB = {"backbone": "mobilenetv2_035", "head_channels": 16, "rates": (2, 4)}
PSPNET = {"backbone": "mobilenetv2_035", "head_channels": 16}
CONFIGS = [
    pytest.param(config, id=f"{config.architecture}-{config.backbone}-os{config.output_stride}")
    for config in (
        deeplabv3.Config(backbone="mobilenetv2_035"),
        deeplabv3.Config(backbone="resnet18", head_channels=24, aux=False),
        deeplabv3.Config(backbone="test_resnet", output_stride=16, rates=(6,)),
        pspnet.Config(backbone="mobilenetv2_035", aux=False),
        pspnet.Config(backbone="resnet18", bins=(1, 2)),
        pspnet.Config(backbone="pvt_v2_b0", output_stride=32),
    )
]
SIZES = [(64, 96), (96, 128), (97, 129)]


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def small(architecture: str, **fields: Any) -> SegmentationNetwork:
    """The smallest network of an architecture, with the given fields changed."""
    sizes = {"deeplabv3": DEEPLAB, "pspnet": PSPNET}
    module = registry.implementations("trainers.models")[architecture]
    return models.build(module.Config(**(sizes[architecture] | fields)), num_classes=CLASSES)


def images(height: int = 64, width: int = 96, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, height, width)


def on_meta(config: object, num_classes: int = 19) -> SegmentationNetwork:
    with torch.device("meta"):
        return models.build(config, num_classes=num_classes)


class TestDeepLabV3(ModelContract):
    config = deeplabv3.Config(**DEEPLAB)
    strides: ClassVar[dict[str, int]] = {"logits": 8, "features": 8, "aux": 8}


class TestPSPNet(ModelContract):
    config = pspnet.Config(**PSPNET)
    strides: ClassVar[dict[str, int]] = {"logits": 8, "features": 8, "aux": 8}


@pytest.mark.parametrize("config", CONFIGS)
def test_taps_have_the_declared_channels_at_the_output_stride(config: Any) -> None:
    network = models.build(config, num_classes=CLASSES).eval()
    for height, width in SIZES:
        with torch.no_grad():
            taps: Taps = network(images(height, width, batch=1))
        assert {name: tap.shape[1] for name, tap in taps.items()} == network.channels
        for name, tap in taps.items():
            stride = 16 if name == "aux" and config.output_stride == 32 else config.output_stride
            assert tap.shape[2:] == (-(-height // stride), -(-width // stride))


@pytest.mark.parametrize("config", CONFIGS)
def test_declared_channels_follow_the_config(config: Any) -> None:
    aux = {"aux": CLASSES} if config.aux else {}
    expected = {"logits": CLASSES, "features": config.head_channels or 128} | aux
    assert on_meta(config, CLASSES).channels == expected


@pytest.mark.parametrize("config", CONFIGS)
def test_gradient_reaches_every_parameter(config: Any) -> None:
    network = models.build(config, num_classes=CLASSES)
    for part in network.modules():  # timm starts some at 0, which shuts their block until a step
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    taps = network(images())
    sum(tap.square().mean() for tap in taps.values()).backward()
    dead = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert dead == []


@pytest.mark.parametrize(("architecture", "rates"), [("deeplabv3", [0.5, 0.1, 0.1]), ("pspnet", [0.1, 0.1])])
def test_dropout_rates_are_the_published_ones(architecture: str, rates: list[float]) -> None:
    network = small(architecture)
    assert [part.p for part in network.modules() if isinstance(part, nn.Dropout)] == rates


def test_first_logits_are_of_unit_scale() -> None:
    network = small("deeplabv3", head_channels=128)
    logits = network(images(96, 128, batch=4))["logits"]
    assert 0.3 < logits.std() < 3


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_resnets_have_the_deep_stem(name: str) -> None:
    with torch.device("meta"):
        stages = Encoder(name, output_stride=8).stages
    stem = [part for part in stages.conv1 if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in stem] == [64, 64, 128]
    assert [part.stride for part in stem] == [(2, 2), (1, 1), (1, 1)]
    pool = stages.maxpool
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, 1, False)


# Dilations of every 3x3 convolution in order; blocks.3 to blocks.6 are MobileNetV2's blocks 7-17.
@pytest.mark.parametrize(
    ("backbone", "groups"),
    [
        (
            "resnet18",
            {"layer2": [1] * 4, "layer3": [1, 2, 2, 2], "layer4": [2, 4, 4, 4]},
        ),
        (
            "resnet50",
            {"layer2": [1] * 4, "layer3": [1] + [2] * 5, "layer4": [2, 4, 4]},
        ),
        (
            "resnet101",
            {"layer2": [1] * 4, "layer3": [1] + [2] * 22, "layer4": [2, 4, 4]},
        ),
        (
            "mobilenetv2_100",
            {
                "blocks.2": [1, 1, 1],
                "blocks.3": [1, 2, 2, 2],
                "blocks.4": [2, 2, 2],
                "blocks.5": [2, 4, 4],
                "blocks.6": [4],
            },
        ),
    ],
)
def test_dilations_are_the_published_ones(backbone: str, groups: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        stages = Encoder(backbone, output_stride=8).stages
    for group, dilations in groups.items():
        convolutions = [
            part
            for part in stages.get_submodule(group).modules()
            if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)
        ]
        assert [part.dilation[0] for part in convolutions] == dilations
        assert all(part.padding == part.dilation for part in convolutions)


@pytest.mark.parametrize("head", ["deeplabv3", "pspnet"])
@pytest.mark.parametrize(
    "backbone", ["resnet34", "convnextv2_tiny", "efficientnet_b0", "mobilenetv3_small_100", "regnety_004"]
)
def test_any_backbone_that_timm_dilates_is_an_encoder(
    head: str, backbone: str, recwarn: pytest.WarningsRecorder
) -> None:
    network = on_meta(models.named(f"{head}({backbone})")).eval()
    assert network(torch.empty(1, 3, 64, 96, device="meta"))["logits"].shape == (1, 19, 8, 12)
    assert not recwarn.list


@pytest.mark.parametrize("backbone", ["densenet121", "pvt_v2_b0", "hrnet_w18_small", "fastvit_t8"])
def test_a_backbone_that_cannot_be_dilated_keeps_its_stride_and_says_so(backbone: str) -> None:
    message = rf"output_stride=8, but '{backbone}' gives .* 16, 32 and timm cannot dilate it: the logits have stride 32"
    with pytest.warns(UserWarning, match=message) as caught:
        network = on_meta(models.named(f"pspnet({backbone})")).eval()
    assert network(torch.empty(1, 3, 64, 96, device="meta"))["logits"].shape == (1, 19, 2, 3)
    assert len(caught) == 1


def test_timm_names_with_tags_are_timms_own_networks() -> None:
    with torch.device("meta"):
        stages = Encoder("resnet18.a1_in1k", output_stride=8).stages
    assert stages.conv1.kernel_size == (7, 7)


@pytest.mark.parametrize(
    ("weights", "device", "fetched"),
    [("none", "cpu", False), ("timm", "cpu", True), ("timm", "meta", False)],
)
def test_published_weights_are_fetched_on_request_alone(
    monkeypatch: pytest.MonkeyPatch, weights: str, device: str, fetched: bool
) -> None:
    asked = []
    create_model = timm.create_model

    def offline(*args: Any, pretrained: bool, **options: Any) -> Any:
        asked.append(pretrained)
        return create_model(*args, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with torch.device(device):
        Encoder("mobilenetv2_050", output_stride=8, weights=weights)
    assert asked == [fetched]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_file_round_trip(tmp_path: Path, suffix: str) -> None:
    source = Encoder("mobilenetv2_035", output_stride=8)
    path = tmp_path / f"weights{suffix}"
    tensors = source.stages.state_dict() | {"classifier.weight": torch.zeros(10, 2)}
    (save_file if suffix == ".safetensors" else torch.save)(tensors, path)
    filled = Encoder("mobilenetv2_035", output_stride=8, weights=str(path)).stages.state_dict()
    assert all(torch.equal(filled[name], tensor) for name, tensor in source.stages.state_dict().items())


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, r"'conv_stem.weight' of shape \[16, 3, 3, 3\] is missing;"),
        ((16, 3, 7, 7), r"shape \[16, 3, 3, 3\] has \[16, 3, 7, 7\];"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, device: str, stored: tuple[int, ...] | None, message: str
) -> None:
    tensors = Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()
    del tensors["conv_stem.weight"]
    if stored is not None:
        tensors["conv_stem.weight"] = torch.zeros(stored)
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path)
    with torch.device(device), pytest.raises(ValueError, match=message):
        small("deeplabv3", weights=str(path))


def test_all_faults_of_a_weights_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    missing = len(Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()) - 1
    with pytest.raises(ValueError, match=rf"is missing \(and {missing} more\);"):
        small("deeplabv3", weights=str(path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "resnet_18"}, "backbone='resnet_18'; did you mean 'resnet18'"),
        ({"weights": "imagenet"}, "weights='imagenet', which is no file;"),
        ({"weights": "timm", "backbone": "resnet18"}, "none for 'resnet18' with the deep stem;"),
        ({"weights": "timm", "backbone": "mobilenetv2_075"}, "none for 'mobilenetv2_075';"),
        (
            {"backbone": "swin_tiny_patch4_window7_224"},
            "NHWC maps at strides 4, 8, 16, 32 for images of one",
        ),
        ({"backbone": "vit_tiny_patch16_224"}, "NCHW maps at strides 16, 16, 16 for images of one size;"),
    ],
)
def test_refusals_state_law_value_and_remedy(fields: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        small("pspnet", **fields)


@pytest.mark.parametrize(
    ("module", "fields"),
    [
        (deeplabv3, {"rates": []}),
        (deeplabv3, {"rates": [0]}),
        (deeplabv3, {"output_stride": 4}),
        (pspnet, {"bins": []}),
        (pspnet, {"head_channels": 0}),
    ],
)
def test_config_ranges(module: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(module.Config).validate_python(fields)


def published_networks() -> list[Any]:
    """Networks with weights by formula and the published code's outputs, one parameter each."""
    manifest = SHARED / "golden" / "models" / "manifest.json"
    if not manifest.exists():
        reason = f"the published networks' outputs are not here: {manifest}"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(manifest.read_text())["fixtures"]
    return [pytest.param(case, id=case["file"]) for case in cases]


def weight_by_formula(name: str, shape: list[int], seed: int) -> Tensor:
    x = np.random.RandomState(seed).standard_normal(shape)
    if name.endswith("num_batches_tracked"):
        x = np.zeros(shape)
    elif len(shape) == 4:
        x = x * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif name.endswith("weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


@pytest.mark.parametrize("case", published_networks())
def test_outputs_are_those_of_the_published_code(case: dict[str, Any]) -> None:
    module = pspnet if case["model"].startswith("psp") else deeplabv3
    backbone = {"mobilenetv2": "mobilenetv2_100"}.get(case["backbone"], case["backbone"])
    config = module.Config(backbone=backbone, aux="aux_logits" in case["outputs"])
    network = on_meta(config, case["num_class"]).eval()

    published = {
        name: weight_by_formula(name, shape, case["weight_seed"] * 1000 + k)
        for k, (name, shape) in enumerate(case["state_dict"])
    }
    network.load_state_dict(from_published(published, config, source=case["file"]), assign=True)

    with np.load(SHARED / "golden" / "models" / case["file"]) as stored, torch.no_grad():
        taps = network(torch.from_numpy(stored["input"]))
        for output in case["outputs"]:
            expected = torch.from_numpy(stored[f"out_{output}"])
            tap = taps[{"logits": "logits", "aux_logits": "aux", "feature": "features"}[output]]
            assert (tap - expected).abs().max() < 1e-4 * expected.abs().max()

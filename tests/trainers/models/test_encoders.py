import json
from collections.abc import Callable
from functools import partial
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
from trainers.models.cirkd_layout import from_published, published_names
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
    names = Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()
    missing = sum(not name.endswith("num_batches_tracked") for name in names) - 1
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


def published_stem(stages: dict[str, Tensor]) -> dict[str, Tensor]:
    """As SKD, CIRKD and RDD have their ImageNet weights: conv1 to conv3, layer1 to layer4, fc."""
    stem = {
        "conv1.0": "conv1",
        "conv1.1": "bn1",
        "conv1.3": "conv2",
        "conv1.4": "bn2",
        "conv1.6": "conv3",
        "bn1": "bn3",
    }
    names = {
        name: next((stem[key] + name[len(key) :] for key in stem if name.startswith(f"{key}.")), name)
        for name in stages
    }
    return {names[name]: tensor for name, tensor in stages.items()} | {"fc.weight": torch.zeros(10, 512)}


def torchvisions_prefix(stages: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"backbone.{name}": tensor for name, tensor in stages.items()} | {"classifier.4.weight": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("backbone", "as_stored"),
    [
        ("resnet18", published_stem),
        ("resnet18", lambda stages: {f"pretrained.{name}": tensor for name, tensor in published_stem(stages).items()}),
        ("resnet18", lambda stages: {f"encoder.stages.{name}": tensor for name, tensor in stages.items()}),
        ("resnet18.tv_in1k", torchvisions_prefix),
        # as timm's network without `features_only` has them
        ("convnextv2_atto", lambda stages: {name.replace("_", ".", 1): tensor for name, tensor in stages.items()}),
        # as files from before PyTorch 0.4.1
        ("resnet18", lambda stages: {n: t for n, t in stages.items() if not n.endswith("num_batches_tracked")}),
        ("mobilenetv2_035", lambda stages: {"state_dict": {f"module.{n}": t.half() for n, t in stages.items()}}),
    ],
)
def test_a_backbone_is_found_in_a_file_by_its_names(
    backbone: str, as_stored: Callable[[dict[str, Tensor]], Any], tmp_path: Path
) -> None:
    expected = Encoder(backbone, output_stride=8).stages.state_dict()
    torch.save(as_stored(expected), tmp_path / "weights.pth")
    filled = Encoder(backbone, output_stride=8, weights=str(tmp_path / "weights.pth")).stages.state_dict()
    for name, tensor in filled.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-6)


def test_a_published_mobilenet_backbone_is_found(tmp_path: Path) -> None:
    network = small("deeplabv3", backbone="mobilenetv2_100", aux=False)
    config = deeplabv3.Config(backbone="mobilenetv2_100", aux=False)
    names = published_names(network.state_dict(), config)
    stored = {names[name].removeprefix("pretrained.net."): tensor for name, tensor in network.state_dict().items()}
    torch.save(stored, tmp_path / "weights.pth")
    filled = Encoder("mobilenetv2_100", output_stride=8, weights=str(tmp_path / "weights.pth")).stages.state_dict()
    assert all(torch.equal(tensor, network.state_dict()[f"encoder.stages.{name}"]) for name, tensor in filled.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["backbone.conv1.weight", "decode_head.conv_seg.weight"], "names are those of mmsegmentation; name"),
        (["stem.0.weight", "layer1.0.conv1.weight"], "those of mmsegmentation, of a ResNet-v1c backbone;"),
        (["backbone.bottom_up.stem.conv1.weight"], "those of detectron2;"),
        (["stem.conv1.norm.weight", "res2.0.conv1.weight"], "those of detectron2;"),
        (["encoder.conv1.weight", "decoder.p5.weight", "segmentation_head.0.weight"], "segmentation_models_pytorch;"),
        (["backbone.conv1.weight", "classifier.4.weight"], "those of torchvision, of a segmentation network;"),
        (["resnet.embedder.embedder.convolution.weight"], "those of Hugging Face transformers;"),
        (["segformer.encoder.block.0.0.attention.self.query.weight"], "those of Hugging Face transformers;"),
        (["pretrained.conv1.weight", "head.block.0.weight"], "CIRKD and RDD, of a whole network; `kdstudy convert"),
        (["conv1.weight", "conv3.weight", "layer1.0.conv1.weight"], "SKD, CIRKD and RDD, of a deep-stem ResNet; as"),
        (
            ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],
            "one 7x7 convolution as stem; as backbone .*tv_in1k;",
        ),
        (["conv1.0.weight", "layer1.0.conv1.weight"], "those of timm, of a ResNet with a deep stem;"),
        (["features.0.weight", "classifier.0.weight"], "those of torchvision, of a VGG or a MobileNet;"),
        (["stem.0.weight", "stages.0.blocks.0.weight"], "those of timm, of a ConvNeXt"),
        (["encoder.stages.conv1.weight", "classifier.weight"], "those of kdstudy, of a whole network;"),
        (["mine.weight"], r"is missing \(and \d+ more\); name the network that was saved"),
    ],
)
def test_a_file_of_another_library_is_named(names: list[str], message: str, tmp_path: Path) -> None:
    torch.save(dict.fromkeys(names, torch.zeros(1)), tmp_path / "weights.pth")
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        Encoder("mobilenetv2_035", output_stride=8, weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(device: str, value: float, tmp_path: Path) -> None:
    tensors = Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()
    tensors["conv_stem.weight"][0, 0, 0, 0] = value
    torch.save(tensors, tmp_path / "weights.pth")
    message = r"but in .* 'conv_stem.weight' has NaN or infinite values"
    with torch.device(device), pytest.raises(ValueError, match=message):
        small("deeplabv3", weights=str(tmp_path / "weights.pth"))


def test_finite_weights_whose_outputs_are_not_are_refused(tmp_path: Path) -> None:
    tensors = Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()
    tensors["bn1.running_var"].fill_(-1.0)
    torch.save(tensors, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="outputs must be finite, but those of the weights in"):
        small("deeplabv3", weights=str(tmp_path / "weights.pth"))


def test_a_file_changes_no_random_state_and_leaves_training_mode(tmp_path: Path) -> None:
    torch.save(Encoder("mobilenetv2_035", output_stride=8).stages.state_dict(), tmp_path / "weights.pth")
    after = []
    for weights in ("none", str(tmp_path / "weights.pth")):
        torch.manual_seed(1)
        network = small("deeplabv3", weights=weights)
        after.append((torch.random.get_rng_state(), network.classifier.weight))
    assert all(torch.equal(first, second) for first, second in zip(*after, strict=True))
    assert all(part.training for part in network.modules())


@pytest.mark.parametrize(("backbone", "stored"), [("resnet18d", "resnet18d"), ("resnet50", "resnet50s")])
def test_timms_own_weights_are_read(
    backbone: str, stored: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As from its hub, but from a file."""
    whole = timm.create_model(stored)
    torch.save(whole.state_dict(), tmp_path / "hub.pth")
    monkeypatch.setattr(
        timm, "create_model", partial(timm.create_model, pretrained_cfg_overlay={"file": str(tmp_path / "hub.pth")})
    )
    filled = Encoder(backbone, output_stride=8, weights="timm").stages.state_dict()
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in filled.items())


def test_without_a_connection_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, *, pretrained: bool, **_: Any) -> Any:
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub. Please check.")

    monkeypatch.setattr(timm, "create_model", offline)
    message = r"neither has them .* on the Hub\); load them once .*HF_HOME .*state-dict file"
    with pytest.raises(ValueError, match=message):
        Encoder("resnet18d", output_stride=8, weights="timm")


@pytest.mark.parametrize("weights", ["timm", "/gone/weights.pth"])
def test_a_trained_network_is_built_without_what_it_began_with(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = deeplabv3.Config(backbone="mobilenetv2_050", head_channels=16, weights=weights)
    create_model = timm.create_model

    def never(*args: Any, pretrained: bool, **options: Any) -> Any:
        assert not pretrained
        return create_model(*args, **options)

    monkeypatch.setattr(timm, "create_model", never)
    assert models.build(config, num_classes=CLASSES, initial_weights=False).channels["logits"] == CLASSES

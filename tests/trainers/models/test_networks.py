"""The networks of the papers' tables other than DeepLabV3 and CIRKD's PSPNet: contract, and what is particular."""

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainers import models
from trainers.models import SegmentationNetwork, enet, erfnet, espnet, fcn8s, icnet, ocnet, pspnet_skd, refinenet
from trainers.models.encoder import FullyDilatedEncoder
from trainers.models.ocnet import CellAttention
from trainers.testing import ModelContract
from trainers.testing.taps import CLASSES


def rounded_up_by_pooling(size: int) -> int:
    """Stride 8 through a convolution, a max-pool of 3 with padding 1 that rounds up, and a convolution."""
    pooled = -(-size // 2) // 2 + 1
    return -(-pooled // 2)


class TestPSPNetSKD(ModelContract):
    config = pspnet_skd.Config(width=0.125)
    strides: ClassVar[dict[str, int]] = {"logits": 8, "features": 8, "aux": 8}

    @classmethod
    def tap_size(cls, size: int, stride: int) -> int:
        return rounded_up_by_pooling(size)

    def test_activations_of_the_heads_are_leaky_and_of_the_encoder_are_not(self) -> None:
        network = self.network()
        leaky = {name.split(".")[0] for name, part in network.named_modules() if isinstance(part, nn.LeakyReLU)}
        assert leaky == {"head", "aux"}
        assert all(part.negative_slope == 0.01 for part in network.modules() if isinstance(part, nn.LeakyReLU))

    def test_dropout_is_of_channels_and_its_rate_published(self) -> None:
        assert [part.p for part in self.network().modules() if isinstance(part, nn.Dropout2d)] == [0.1, 0.1]

    def test_the_auxiliary_head_can_be_left_out(self) -> None:
        assert "aux" not in self.network(aux=False).channels


class TestOCNet(ModelContract):
    config = ocnet.Config(backbone="resnet18", width=0.125, head_channels=16)
    strides: ClassVar[dict[str, int]] = {"logits": 8, "features": 8, "aux": 8}

    @classmethod
    def tap_size(cls, size: int, stride: int) -> int:
        return rounded_up_by_pooling(size)

    def test_attention_stays_inside_its_cell(self) -> None:
        attention = CellAttention(8, cells=3).double().eval()
        maps = torch.randn(2, 8, 7, 11, dtype=torch.float64)
        key, value = attention.key(maps), attention.value(maps)
        context = torch.zeros_like(value)
        for rows in (range(0, 2), range(2, 4), range(4, 7)):
            for columns in (range(0, 3), range(3, 6), range(6, 11)):
                cell = [(i, j) for i in rows for j in columns]
                keys, values = (torch.stack([part[:, :, i, j] for i, j in cell], 1) for part in (key, value))
                shares = (keys @ keys.transpose(1, 2) / 4**0.5).softmax(dim=2)
                for (i, j), mixed in zip(cell, (shares @ values).unbind(1), strict=True):
                    context[:, :, i, j] = mixed
        torch.testing.assert_close(attention(maps), attention.project(context))


class TestESPNet(ModelContract):
    config = espnet.Config(p=1, q=1)
    strides: ClassVar[dict[str, int]] = {"logits": 1, "features": 8}


class TestESPNetWithAnAuxiliaryHead(ModelContract):
    config = espnet.Config(p=1, q=1, aux=True)
    strides: ClassVar[dict[str, int]] = {"logits": 1, "features": 8, "aux": 8}

    def test_it_is_the_same_network(self) -> None:
        plain = models.build(espnet.Config(p=1, q=1), num_classes=5).eval()
        headed = models.build(self.config, num_classes=5).eval()
        headed.load_state_dict(plain.state_dict())
        images = torch.randn(2, 3, 16, 24)
        torch.testing.assert_close(headed(images)["logits"], plain(images)["logits"], rtol=0, atol=0)
        features = headed(images)["features"]
        torch.testing.assert_close(headed(images)["aux"], headed.decoder.classifier(features), rtol=0, atol=0)


class TestENet(ModelContract):
    config = enet.Config()
    strides: ClassVar[dict[str, int]] = {"logits": 1, "features": 8}
    bf16_error: ClassVar[float] = 0.2  # rounding moves maxima, and with them the places that are unpooled to

    def test_dropout_rates_are_published(self) -> None:
        rates = [part.p for part in self.network().modules() if isinstance(part, nn.Dropout2d)]
        assert rates == [0.01] * 5 + [0.1] * 22


class TestERFNet(ModelContract):
    config = erfnet.Config()
    strides: ClassVar[dict[str, int]] = {"logits": 1, "features": 8, "aux": 8}
    training_only: ClassVar[set[str]] = {"aux"}

    def test_dropout_rates_and_dilations_are_published(self) -> None:
        network = self.network()
        rates = [part.p for part in network.modules() if isinstance(part, nn.Dropout2d)]
        assert rates == [0.03] * 5 + [0.3] * 8 + [0.0] * 4
        convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
        tall = [part.dilation[0] for part in convolutions if part.kernel_size == (3, 1)]
        assert tall[1::2] == [1] * 5 + [2, 4, 8, 16] * 2 + [1] * 4 and set(tall[::2]) == {1}


class TestICNet(ModelContract):
    config = icnet.Config(backbone="test_resnet")
    strides: ClassVar[dict[str, int]] = {"logits": 4, "features": 4, "aux": 8, "aux_low": 16}

    @classmethod
    def tap_size(cls, size: int, stride: int) -> int:
        return -(-(size // 2) // 8) if stride == 16 else -(-size // stride)

    def test_lean_leaves_out_what_nothing_reads(self) -> None:
        published, lean = self.network().eval(), self.network(lean=True).eval()
        assert [n for n, p in published.named_parameters() if not p.requires_grad] == [
            "imagenet.weight",
            "imagenet.bias",
        ]
        kept = {name: value for name, value in published.state_dict().items() if not name.startswith("imagenet.")}
        lean.load_state_dict(kept)
        images = self.images()
        with torch.no_grad():
            expected, found = published(images), lean(images)
        assert all(torch.equal(found[name], tap) for name, tap in expected.items())

    def test_lean_is_refused_where_stages_are_no_chain(self) -> None:
        with torch.device("meta"), pytest.raises(ValueError, match="but 'mobilenetv2_035' is none; set lean=False"):
            models.build(icnet.Config(backbone="mobilenetv2_035", lean=True), num_classes=CLASSES)


class TestFCN8s(ModelContract):
    """On four 1x1 convolutions in place of VGG's thirteen, which take minutes in bf16 where the CPU has none."""

    config = fcn8s.Config(wide_channels=16)
    strides: ClassVar[dict[str, int]] = {"logits": 1, "features": 32}
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((32, 48), (64, 96), (97, 131))

    def network(self, **changes: Any) -> SegmentationNetwork:
        network: Any = super().network(**changes)
        thin = {0: nn.Conv2d(3, 8, 1, padding=99), 10: nn.Conv2d(8, 256, 1)}
        thin |= {17: nn.Conv2d(256, 512, 1), 24: nn.Conv2d(512, 512, 1)}
        for position, layer in enumerate(network.vgg.features):
            if not isinstance(layer, nn.MaxPool2d):
                network.vgg.features[position] = thin.get(position, nn.Identity())
        return network

    def test_narrow_layers_take_no_published_weights(self) -> None:
        with torch.device("meta"), pytest.raises(ValueError, match="but got wide_channels=16; leave out one"):
            models.build(fcn8s.Config(weights="timm", wide_channels=16), num_classes=CLASSES)

    def test_vgg_itself_gives_taps_and_gets_gradients(self) -> None:
        network = super().network()
        taps = network(self.images(1, (33, 41)))
        assert taps["logits"].shape == (1, CLASSES, 33, 41) and taps["features"].shape == (1, 4096, 2, 2)
        torch.stack([tap.square().mean() for tap in taps.values()]).sum().backward()
        assert [name for name, part in network.named_parameters() if part.grad is None or not part.grad.any()] == []

    def test_upsampling_starts_bilinear_and_channel_by_channel(self) -> None:
        up = fcn8s._bilinear(3, stride=4)
        maps = torch.randn(1, 3, 5, 6)
        inside = up(maps)[:, :, 6:-6, 6:-6]  # the rims are not of full weight
        expected = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)[:, :, 4:-4, 4:-4]
        torch.testing.assert_close(inside, expected)


class TestRefineNet(ModelContract):
    config = refinenet.Config(backbone="test_resnet", head_channels=8)
    strides: ClassVar[dict[str, int]] = {"logits": 4, "features": 4}


@pytest.mark.parametrize(
    ("backbone", "layer3", "layer4"), [("resnet18", [2] * 4, [4] * 4), ("resnet101", [2] * 23, [4] * 3)]
)
def test_the_skd_family_dilates_first_blocks_too_and_its_pool_rounds_up(
    backbone: str, layer3: list[int], layer4: list[int]
) -> None:
    with torch.device("meta"):
        stages = FullyDilatedEncoder(backbone).stages
    for layer, expected in ((stages.layer3, layer3), (stages.layer4, layer4)):
        parts = [part for part in layer.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
        assert [part.dilation[0] for part in parts] == expected
        assert all(part.padding == part.dilation and part.stride == (1, 1) for part in parts)
    assert stages.maxpool.ceil_mode


@pytest.mark.parametrize("architecture", ["pspnet_skd", "ocnet"])
def test_the_skd_family_is_refused_on_other_backbones(architecture: str) -> None:
    with pytest.raises(ValueError, match="but got backbone='mobilenetv2_100'; name resnet18, "):
        models.build(models.named(f"{architecture}(mobilenetv2_100)"), num_classes=CLASSES)

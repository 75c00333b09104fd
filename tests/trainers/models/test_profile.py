"""Counts against the published counters' figures, and against what a tiny network must have by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from trainers import models
from trainers.models import named, papers, profile
from trainers.models.papers import Row, Table, compared, reproduces

CITYSCAPES = 19

# Parameters; MACs at 512x1024 and 1024x2048: dilation-blind, then exact. From the published code, on the meta device.
PUBLISHED = {
    "deeplabv3(resnet101)": (61_118_950, 687_806_087_168, 515_837_001_728, 2_371_663_953_920, 2_063_346_434_048),
    "deeplabv3(resnet50)": (42_126_822, 528_759_914_496, 360_681_308_160, 1_743_300_329_472, 1_442_723_659_776),
    "deeplabv3(resnet18)": (13_607_974, 158_978_342_912, 129_373_896_704, 572_014_002_176, 517_495_390_208),
    "deeplabv3(mobilenetv2_100, aux=False)": (
        3_233_171, 39_209_527_296, 26_635_051_008, 128_923_183_104, 106_540_081_152,
    ),
    "pspnet(resnet101)": (68_072_166, 554_328_129_536, 542_772_297_728, 2_193_812_357_120, 2_170_931_904_512),
    "pspnet(resnet50)": (49_080_038, 395_281_956_864, 387_616_604_160, 1_565_448_732_672, 1_550_309_130_240),
    "pspnet(resnet18)": (12_919_334, 131_682_140_160, 122_129_350_656, 507_346_550_784, 488_507_572_224),
    "pspnet(mobilenetv2_100, aux=False)": (
        2_654_739, 21_443_989_504, 21_401_798_656, 85_686_685_696, 85_603_354_624,
    ),
    "deeplabv3(resnet101, head_channels=512)": (
        79_084_262, 991_067_373_568, 658_685_034_496, 3_228_491_579_392, 2_634_736_992_256,
    ),
    "pspnet(resnet101, head_channels=256)": (
        58_629_606, 476_978_872_320, 465_423_040_512, 1_884_415_328_256, 1_861_534_875_648,
    ),
}  # fmt: skip

# Parameters and exact MACs at 512x1024 without the auxiliary head.
WITHOUT_AUX = {
    "deeplabv3(resnet101, aux=False)": (58_754_259, 496_469_803_008),
    "deeplabv3(resnet50, aux=False)": (39_762_131, 341_314_109_440),
    "deeplabv3(resnet18, aux=False)": (13_459_155, 128_155_975_680),
    "pspnet(resnet101, aux=False)": (65_707_475, 523_405_099_008),
    "pspnet(resnet50, aux=False)": (46_715_347, 368_249_405_440),
    "pspnet(resnet18, aux=False)": (12_770_515, 120_911_429_632),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_codes_to_the_unit(name: str) -> None:
    config = named(name)
    small, large = (profile.macs(config, size=size, num_classes=CITYSCAPES) for size in ((512, 1024), (1024, 2048)))
    found = (small.dilation_blind, small.exact, large.dilation_blind, large.exact)
    assert (profile.parameters(config, num_classes=CITYSCAPES), *found) == PUBLISHED[name]


@pytest.mark.parametrize("name", WITHOUT_AUX)
def test_counts_without_the_auxiliary_head_are_the_published_codes(name: str) -> None:
    config = named(name)
    exact = profile.macs(config, size=(512, 1024), num_classes=CITYSCAPES).exact
    assert (profile.parameters(config, num_classes=CITYSCAPES), exact) == WITHOUT_AUX[name]


def test_biases_count_half_in_the_convention_of_convolutions() -> None:
    counted = profile.macs(named("pspnet(resnet18)"), size=(512, 1024), num_classes=CITYSCAPES)
    biased_outputs = 2 * CITYSCAPES * 64 * 128  # both classifiers; all else is without bias
    assert counted.convolutions - counted.exact == biased_outputs / 2


class Mixed(nn.Module):
    """One layer of each kind that the conventions treat differently."""

    def __init__(self, config: Any = None, num_classes: int = 0, initial_weights: bool = True) -> None:
        super().__init__()
        self.dilated = nn.Conv2d(3, 4, 3, padding=6, dilation=6)
        self.strided = nn.Conv2d(4, 8, (3, 1), stride=2, padding=(1, 0), groups=4, bias=False)
        self.transposed = nn.ConvTranspose2d(8, 2, 2, stride=2)
        self.linear = nn.Linear(2, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.transposed(self.strided(self.dilated(images)))
        return self.linear(maps.mean(dim=(2, 3)))


def test_each_convention_counts_the_layers_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "build", Mixed)
    counted = profile.macs(None, size=(16, 20), num_classes=0)
    dilated, strided, linear = 4 * 3 * 9, 8 * 1 * 3, 2 * 5
    assert counted.dilation_blind == dilated * 26 * 30 + strided * 8 * 10 + linear
    assert counted.convolutions == dilated * 16 * 20 + 4 * 16 * 20 / 2 + strided * 8 * 10
    assert counted.exact == dilated * 16 * 20 + strided * 8 * 10 + 8 * 2 * 4 * 8 * 10 + linear


NOT_REPRODUCED = {
    ("RDD, table 1: Cityscapes, networks without distillation", "ICNet", "gmacs"),
    ("RDD, table 1: Cityscapes, networks without distillation", "ICNet", "parameters_m"),
    ("IDD, table 2: Cityscapes test", "ENet", "parameters_m"),
    ("IDD, table 2: Cityscapes test", "ICNet", "parameters_m"),
    ("IDD, table 2: Cityscapes test", "ICNet", "gmacs"),
}
"""Title, network and kind of the printed figures that ours are not."""


def test_the_papers_figures_are_reproduced() -> None:
    tables = list(compared(papers.TABLES))
    assert [table["title"] for table in tables] == [table.title for table in papers.TABLES]
    figures = {
        (table["title"], row["network"], kind): row[kind]
        for table in tables
        for row in table["rows"]
        for kind in ("parameters_m", "gmacs")
    }
    printed = {place for place, figure in figures.items() if figure["paper"] is not None}
    assert {place for place, figure in figures.items() if figure["reproduced"]} == printed - NOT_REPRODUCED
    assert {place for place, figure in figures.items() if figure["reproduced"] is False} == NOT_REPRODUCED


def test_a_figure_that_is_not_reproduced_stands_beside_ours() -> None:
    wrong = Table(
        title="wrong",
        size=(64, 64),
        classes=2,
        convention="convolutions",
        rows=(Row("PSPNet", "pspnet(mobilenetv2_035)", "28.30", "26.50"),),
    )
    (table,) = compared((wrong,))
    (row,) = table["rows"]
    config = named("pspnet(mobilenetv2_035)")
    counted, parameters = profile.macs(config, size=(64, 64), num_classes=2), profile.parameters(config, num_classes=2)
    assert row["parameters_m"] == {"paper": "26.50", "ours": parameters / 1e6, "reproduced": False}
    assert row["gmacs"] == {"paper": "28.30", "ours": counted.convolutions / 1e9, "reproduced": False}


@pytest.mark.parametrize(
    ("ours", "printed", "same"),
    [
        (2371.66, "2371", True),  # cut off
        (507.35, "507.4", True),  # rounded
        (31.5253, "31.53", True),
        (2372.01, "2371", False),
        (0.3517, "0.358", False),
        (3.612, "3.612", True),
        (3.6131, "3.612", False),
    ],
)
def test_one_unit_of_the_last_digit_decides(ours: float, printed: str, same: bool) -> None:
    assert reproduces(ours, printed) is same

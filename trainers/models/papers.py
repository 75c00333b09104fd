"""Parameters and operations of the networks in the papers' tables, as printed there, beside ours.

The tables are data: a network is one `Row` with its name as `models.named` reads it. Each table is counted at the size,
with the classes and in the convention that reproduce it, which its paper does not always say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trainers.models import named
from trainers.models.profile import Size, macs, parameters


@dataclass(frozen=True)
class Row:
    """A network of a table; None where the table has no such figure.

    Attributes:
        network: as the paper calls it.
        model: its name for `models.named`.
        gmacs: 1e9 multiply-accumulates, which the papers call FLOPs.
        parameters_m: millions of parameters.
    """

    network: str
    model: str
    gmacs: str | None
    parameters_m: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper.

    Attributes:
        convention: the field of `profile.Macs` that its paper counts.
        times: how many times that the paper prints.
        note: what the paper leaves unsaid.
    """

    title: str
    size: Size
    classes: int
    convention: Literal["dilation_blind", "convolutions"]
    rows: tuple[Row, ...]
    times: int = 1
    note: str = ""


TABLES = (
    Table(
        title="RDD, table 1: Cityscapes",
        size=(1024, 2048),
        classes=19,
        convention="dilation_blind",
        rows=(
            Row("DeepLabV3-R101", "deeplabv3(resnet101)", "2371", "61.1"),
            Row("DeepLabV3-R18", "deeplabv3(resnet18)", "572.0", "13.6"),
            Row("DeepLabV3-MBV2", "deeplabv3(mobilenetv2_100, aux=False)", "128.9", "3.2"),
            Row("PSPNet-R18", "pspnet(resnet18)", "507.4", "12.9"),
        ),
    ),
    Table(
        title="RDD, table 1: Cityscapes, networks without distillation",
        size=(512, 1024),
        classes=19,
        convention="convolutions",
        times=4,
        rows=(
            Row("ENet", "enet", "14.4", "0.35"),
            Row("ESPNet", "espnet", "17.7", "0.36"),
            Row("ICNet", "icnet", "113.2", "26.5"),
            Row("FCN", "fcn8s", "1335.6", "134.5"),
            Row("RefineNet", "refinenet", "2102.8", "118.1"),
            Row("OCNet", "ocnet", "2194.2", "62.6"),
        ),
        note="these are four times the figures of the IDD paper, which rounded them first",
    ),
    Table(
        title="RDD, table 2: PASCAL VOC 2012",
        size=(512, 2048),
        classes=21,
        convention="dilation_blind",
        rows=(
            Row("DeepLabV3-R101", "deeplabv3(resnet101)", "1294.6"),
            Row("DeepLabV3-R18", "deeplabv3(resnet18)", "305.0"),
            Row("PSPNet-R18", "pspnet(resnet18)", "260.0"),
        ),
        note="the paper says 512x512, but its figures are those of 512x2048",
    ),
    Table(
        title="RDD, table 4: CamVid",
        size=(360, 480),
        classes=11,
        convention="dilation_blind",
        rows=(
            Row("DeepLabV3-R101", "deeplabv3(resnet101)", "280.2"),
            Row("DeepLabV3-R18", "deeplabv3(resnet18)", "61.0"),
            Row("PSPNet-R18", "pspnet(resnet18)", "45.6"),
        ),
    ),
    Table(
        title="IDD, table 2: Cityscapes test",
        size=(512, 1024),
        classes=19,
        convention="convolutions",
        rows=(
            Row("ENet", "enet", "3.612", "0.358"),
            Row("ESPNet", "espnet", "4.422", "0.364"),
            Row("ERFNet", "erfnet", "25.60", "2.067"),
            Row("ICNet", "icnet", "28.30", "26.50"),
            Row("FCN", "fcn8s", "333.9", "134.5"),
            Row("RefineNet", "refinenet", "525.7", "118.1"),
            Row("OCNet", "ocnet", "548.5", "62.58"),
            Row("PSPNet-R101", "pspnet_skd(resnet101)", "574.9", "70.43"),
            Row("PSPNet-R18", "pspnet_skd(resnet18)", "125.8", "13.07"),
        ),
    ),
    Table(
        title="IDD, table 3: Cityscapes",
        size=(512, 1024),
        classes=19,
        convention="convolutions",
        rows=(
            Row("ESPNet", "espnet", "4.422", "0.3635"),
            Row("PSPNet-R18 (0.5)", "pspnet_skd(resnet18, width=0.5)", "31.53", "3.271"),
            Row("PSPNet-R18", "pspnet_skd(resnet18)", "125.8", "13.07"),
        ),
    ),
)


def compared(tables: tuple[Table, ...]) -> Iterator[dict[str, Any]]:
    """Every table with both figures of each row and whether ours reproduces the paper's.

    Yields:
        {"title", "size", "classes", "convention", "note", "rows": [{"network", "model", "parameters_m", "gmacs"}]},
        where the last two hold {"paper": str or None, "ours": float, "reproduced": bool or None}.
    """
    for table in tables:
        yield {
            "title": table.title,
            "size": list(table.size),
            "classes": table.classes,
            "convention": table.convention,
            "note": table.note,
            "rows": [_compared(row, table) for row in table.rows],
        }


def _compared(row: Row, table: Table) -> dict[str, Any]:
    config = named(row.model)
    counted = getattr(macs(config, size=table.size, num_classes=table.classes), table.convention)
    return {
        "network": row.network,
        "model": row.model,
        "parameters_m": _beside(row.parameters_m, parameters(config, num_classes=table.classes) / 1e6),
        "gmacs": _beside(row.gmacs, table.times * counted / 1e9, table.times),
    }


def _beside(printed: str | None, ours: float, times: int = 1) -> dict[str, Any]:
    return {"paper": printed, "ours": ours, "reproduced": None if printed is None else reproduces(ours, printed, times)}


def reproduces(ours: float, printed: str, times: int = 1) -> bool:
    """Whether ours lies within one unit of the last printed digit: the papers round some figures and cut others off.

    Where a figure is several `times` a rounded one, within as many units.
    """
    decimals = len(printed.partition(".")[2])
    return abs(ours - float(printed)) < times * 0.1**decimals

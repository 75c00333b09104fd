"""The ablation tables of the RDD and IDD papers as data: which settings a line has, and what was published for it.

RDD: Liang et al., Relative Difficulty Distillation for Semantic Segmentation. IDD: Zhang et al., Distilling Inter-Class
Distance for Semantic Segmentation, IJCAI-22. Numbers are as printed. Inside the RDD paper "RDD" stands on KD: the 77.18
of tables 5 and 6 is the line of KD with RDD of table 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Measure = Literal["miou_percent", "seconds"]

RDD_SETTING = "Cityscapes val, DeepLabV3-R18 taught by DeepLabV3-R101, 40,000 iterations"
IDD_SETTING = "Cityscapes val, PSPNet-R18 taught by PSPNet-R101, 40,000 iterations"

PLAIN: Mapping[str, object] = {"weighting": "uniform"}
RDD: Mapping[str, object] = {"weighting": "rdd"}
RDD_PAPER: Mapping[str, object] = {"tfe_fraction": 0.1, "combine": "xor", "threshold": 0.7}
"""The options of the paper's own RDD, preferred where a line leaves them open."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table: the trials it is about, and the published number.

    Attributes:
        label: as the table names it.
        published: mIoU in percent, or seconds.
        task: leaves of the weighting's configuration that its trials have.
        distils: methods that its trials have, `method` or `method/term` where only that term has weight; None for any.
        kd_beside: whether KD may stand beside them: published codes have it there, the papers' equations have not.
        versus: label of the line that this one is compared with.
    """

    label: str
    published: float
    task: Mapping[str, object]
    distils: frozenset[str] | None = None
    kd_beside: bool = False
    versus: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One table.

    Attributes:
        name: short, for machines.
        title: what it varies.
        source: paper and number.
        setting: what it was measured on.
        varies: paths of a trial's configuration in which its lines differ; all else is the same in a table.
        measure: what stands in it.
        lines: in the paper's order.
    """

    name: str
    title: str
    source: str
    setting: str
    varies: tuple[str, ...]
    lines: tuple[Line, ...]
    measure: Measure = "miou_percent"


def _varied(name: str, published: Mapping[object, float], reference: object) -> tuple[Line, ...]:
    """A line for each value of one option of RDD, all but the paper's choice compared with that."""
    return tuple(
        Line(
            label=str(value),
            published=score,
            task={**RDD, name: value},
            versus=None if value == reference else str(reference),
        )
        for value, score in published.items()
    )


def _with_and_without(
    published: Mapping[str, tuple[float, float]], distils: Mapping[str, frozenset[str]]
) -> tuple[Line, ...]:
    """Two lines for each method, without RDD and with it."""
    lines = []
    for label, (without, with_rdd) in published.items():
        methods, beside = distils[label], bool(distils[label] - {"kd"})
        lines += [
            Line(label=label, published=without, task=PLAIN, distils=methods, kd_beside=beside),
            Line(
                label=f"{label} + RDD",
                published=with_rdd,
                task=RDD,
                distils=methods,
                kd_beside=beside,
                versus=label,
            ),
        ]
    return tuple(lines)


def _stages() -> tuple[Line, ...]:
    named = {0.0: "0 % (TSE only)", 0.1: "10 %", 0.2: "20 %", 0.3: "30 %", 1.0: "100 % (TFE only)"}
    published = {0.0: 76.34, 0.1: 77.18, 0.2: 76.77, 0.3: 76.58, 1.0: 74.43}
    return tuple(
        Line(
            label=named[fraction],
            published=score,
            task={**RDD, "tfe_fraction": fraction},
            versus=None if fraction == 0.1 else "10 %",
        )
        for fraction, score in published.items()
    )


def _minutes(hours: int, minutes: int) -> float:
    return 60.0 * (60 * hours + minutes)


_METHODS = {
    "baseline": frozenset[str](),
    "KD": frozenset({"kd"}),
    "AT": frozenset({"at"}),
    "DSD": frozenset({"dsd"}),
    "CIRKD": frozenset({"cirkd"}),
}

ABLATIONS: tuple[Ablation, ...] = (
    Ablation(
        name="rdd-5",
        title="length of the TFE stage",
        source="RDD, table 5",
        setting=RDD_SETTING,
        varies=("task/tfe_fraction",),
        lines=_stages(),
    ),
    Ablation(
        name="rdd-6",
        title="how TSE combines the two hard masks",
        source="RDD, table 6",
        setting=RDD_SETTING,
        varies=("task/combine",),
        lines=_varied("combine", {"and": 70.01, "or": 75.32, "xor": 77.18}, "xor"),
    ),
    Ablation(
        name="rdd-7",
        title="threshold t, below which a pixel is hard (published: means of three runs)",
        source="RDD, table 7",
        setting=RDD_SETTING,
        varies=("task/threshold",),
        lines=_varied("threshold", {0.6: 76.47, 0.65: 76.88, 0.7: 76.95, 0.75: 76.66, 0.8: 76.32}, 0.7),
    ),
    Ablation(
        name="rdd-8",
        title="other methods without RDD and with it",
        source="RDD, table 8",
        setting=RDD_SETTING,
        varies=("task", "methods"),
        lines=_with_and_without(
            {"AT": (76.21, 77.11), "DSD": (74.42, 75.72), "CIRKD": (76.38, 76.69), "KD": (74.82, 77.18)}, _METHODS
        ),
    ),
    Ablation(
        name="rdd-9",
        title="training time without RDD and with it",
        source="RDD, table 9",
        setting=RDD_SETTING,
        varies=("task", "methods"),
        lines=_with_and_without(
            {
                "baseline": (_minutes(4, 5), _minutes(4, 20)),
                "AT": (_minutes(4, 30), _minutes(4, 52)),
                "CIRKD": (_minutes(7, 38), _minutes(8, 2)),
                "DSD": (_minutes(4, 32), _minutes(4, 56)),
            },
            _METHODS,
        ),
        measure="seconds",
    ),
    Ablation(
        name="idd-1",
        title="losses of IDD, one after the other",
        source="IDD, table 1 (its text says 76.43 of the distance)",
        setting=IDD_SETTING,
        varies=("methods",),
        lines=(
            Line(label="none", published=70.09, task=PLAIN, distils=frozenset()),
            Line(label="SKD", published=73.03, task=PLAIN, distils=frozenset({"skd"}), versus="none"),
            Line(label="SKD + CW", published=75.78, task=PLAIN, distils=frozenset({"skd", "cwd"}), versus="SKD"),
            Line(
                label="SKD + CW + distance",
                published=76.81,
                task=PLAIN,
                distils=frozenset({"skd", "cwd", "idd/distance"}),
                versus="SKD + CW",
            ),
            Line(
                label="SKD + CW + position",
                published=76.43,
                task=PLAIN,
                distils=frozenset({"skd", "cwd", "idd/position"}),
                versus="SKD + CW",
            ),
            Line(
                label="all",
                published=77.59,
                task=PLAIN,
                distils=frozenset({"skd", "cwd", "idd/distance", "idd/position"}),
                versus="SKD + CW",
            ),
        ),
    ),
)

"""The section of tuning curves."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from analysis.figures.tuning_curves import tuning_curves as drawn_curves
from analysis.report.section import SPENT, Section, Table
from analysis.report.source import Source
from analysis.tuning_curves.curves import ArmCurve
from analysis.tuning_curves.leaders import tuning_curves
from analysis.tuning_curves.view import how_read

STEPS = pa.schema(
    [
        ("arm", pa.string()),
        ("curve", pa.string()),
        ("mIoU %", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        (SPENT, pa.float64()),
    ]
)
"""Columns of the curves' table."""


def curves(source: Source) -> Section:
    """The best found against cost, and at what cost the answer changes."""
    found = tuning_curves(source.study)
    drawn = drawn_curves(found.curves, source.arm_colours)
    rows = [row for curve in found.curves for row in _rows(curve)]
    text = tuple(f"{line[0].upper()}{line[1:]}." for line in found.answers)
    below = (f"How the figure is read: {how_read(found)}.",) if rows else ()
    caption = "Tuning curves: a step of each path, and the expectation over the order of trials with 90 % of the orders"
    tables = (Table(name="tuning-curves", caption=caption, rows=pa.Table.from_pylist(rows, STEPS)),) if rows else ()
    return Section(
        key="tuning-curves", title="Tuning curves", text=text, drawings=((drawn,),), notes=below, tables=tables
    )


def _rows(curve: ArmCurve) -> Iterator[dict[str, Any]]:
    if curve.path is not None:
        for cost, score in zip(curve.path.cost, curve.path.miou_percent, strict=True):
            yield {"arm": curve.arm, "curve": "path", SPENT: cost, "mIoU %": score}
    if (one := curve.expectation) is not None:
        for cost, mean, low, high in zip(one.cost, one.mean, one.low, one.high, strict=True):
            about = {"arm": curve.arm, "curve": "expectation", SPENT: cost}
            yield {**about, "mIoU %": mean, "low": low, "high": high}

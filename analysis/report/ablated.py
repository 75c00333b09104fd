"""The section of the papers' ablation tables, as far as a study's trials fill them."""

import pyarrow as pa

from analysis.ablation.ablation import AblationTable, Cell, ablations
from analysis.report.section import COST, COSTS, Section, Table
from analysis.report.source import Source
from analysis.studies.runs import mean_cost

LEAST = 2
"""Lines with evidence from which a table says something."""
UNITS = {"miou_percent": ("mIoU %, last evaluation", "points"), "seconds": ("training time, s", "times as long")}
LEGEND = {
    COST: COSTS[COST],
    "from, to": "ends of the interval over seeds",
    "against": "the line that it is compared with",
    "pairs": "runs of equal seeds that were compared",
}


def ablated(source: Source) -> Section:
    """Every table of the papers of which the study has two lines or more."""
    found = [table for table in ablations(source.study) if table.lines_with_evidence >= LEAST]
    tables = tuple(_table(table) for table in found)
    if not tables:
        text = "The trials fill no two lines of an ablation table of the RDD or IDD paper; presets with `ablation` do."
    else:
        text = "Ours beside the published numbers, which are of other data and schedules. Intervals are over seeds."
    return Section(key="ablations", title="Ablations", text=(text,), tables=tables)


def _table(found: AblationTable) -> Table:
    published = found.published
    measured, gained = UNITS[published.measure]
    schema = pa.schema(
        [
            ("setting", pa.string()),
            (measured, pa.float64()),
            ("from", pa.float64()),
            ("to", pa.float64()),
            (COST, pa.float64()),
            ("seeds", pa.int64()),
            ("published", pa.float64()),
            ("against", pa.string()),
            (gained, pa.float64()),
            (f"{gained}, from", pa.float64()),
            (f"{gained}, to", pa.float64()),
            ("pairs", pa.int64()),
            (f"{gained}, published", pa.float64()),
        ]
    )
    rows = [dict(zip(schema.names, _row(cell), strict=True)) for cell in found.cells if cell.mean]
    lacking = ", ".join(cell.line.label for cell in found.cells if not cell.mean)
    caption = f"{published.source}: {published.title}; published on {published.setting}"
    caption += f"; no evidence for {lacking}" if lacking else ""
    table = pa.Table.from_pylist(rows, schema)
    return Table(name=f"ablation-{published.name}", caption=caption, rows=table, legend=LEGEND)


def _row(cell: Cell) -> tuple[str | float | None, ...]:
    mean, gain = cell.mean, cell.gain
    over = gain.interval if gain else None
    return (
        cell.line.label,
        *((mean.estimate, mean.low, mean.high) if mean else (None, None, None)),
        mean_cost(cell.runs),
        mean.n if mean else 0,
        cell.line.published,
        cell.line.versus,
        *((over.estimate, over.low, over.high) if over else (None, None, None)),
        over.n if over and gain and gain.paired else None,
        gain.published if gain else None,
    )

"""Pareto fronts as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from analysis.comparison.wording import counted
from analysis.pareto.fronts import Front, Fronts, rows
from analysis.printing import numbers, say, wide
from study.measures import COSTS

WRITTEN: Mapping[str, str] = {
    "parameters": "{:,.0f}",
    "multiply_accumulates": "{:.4g}",
    "latency_ms": "{:.3g}",
    "peak_memory_mib": "{:,.0f}",
}
"""How a cost is written."""


def print_fronts(found: Fronts, console: Console | None = None) -> None:
    """Print them."""
    console = console or wide()
    for line in notes(found):
        say(console, f"{found.study.name}: {line}")
    for one in found.fronts:
        console.print()
        say(console, heading(one))
        if one.trivial is None:
            _print_front(found, one, console)


def notes(found: Fronts) -> Iterator[str]:
    """What holds for all fronts of a study."""
    if found.constraints:
        yield (
            f"bounds of the search: {', '.join(found.constraints)}; {counted(found.outside, 'finished trial')} outside"
        )
    if found.conditions:
        yield f"latency: one image of {'; '.join(found.conditions)}"


def heading(one: Front) -> str:
    """How many trials are in a front, or why it says nothing."""
    if one.trivial is not None:
        return one.trivial
    number, of = one.trials.num_rows, one.candidates.num_rows
    return f"mIoU against {', '.join(one.costs)}: the front has {number} of {counted(of, 'finished trial')}"


def _print_front(found: Fronts, one: Front, console: Console) -> None:
    table = numbers("trial", "mIoU %", "parameters", "MACs", "latency ms", "peak MiB")
    table.add_column("settings")
    for row in rows(one, found.study):
        costs = (written(name, row[name]) for name in COSTS)
        table.add_row(f"{row['arm']} {row['trial']}", f"{row['miou_percent']:.2f}", *costs, row["settings"])
    console.print(table)


def written(name: str, value: Any) -> str:
    """A cost as text; nothing where it is not known."""
    return "" if value is None else WRITTEN[name].format(value)

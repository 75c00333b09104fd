"""The ablation tables to read: ours beside the published numbers, each with its number of seeds."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from analysis.ablation.ablation import AblationTable, Cell, Gain
from analysis.ablation.published import Measure
from analysis.printing import say, wide
from analysis.statistics import Interval
from analysis.studies.study import Study

NO_EVIDENCE = "no evidence"
COLUMNS: dict[Measure, tuple[str, ...]] = {
    "miou_percent": ("mIoU %, last", "seeds", "published", "difference, points", "published"),
    "seconds": ("training time", "seeds", "published", "times as long", "published"),
}


def print_ablations(study: Study, tables: Sequence[AblationTable], console: Console | None = None) -> None:
    """Print every table that has evidence, and name the others."""
    console = console or wide()
    for table in tables:
        if table.lines_with_evidence:
            _show_table(study, table, console)
    empty = [table.published.source for table in tables if not table.lines_with_evidence]
    if empty:
        console.print(f"{NO_EVIDENCE} for: {', '.join(empty)}", highlight=False, soft_wrap=True)


def _show_table(study: Study, found: AblationTable, console: Console) -> None:
    published = found.published
    say(console, f"{published.source}: {published.title}")
    about = f"published on {published.setting}; ours on {study.dataset}, 95 % intervals over seeds"
    more = (
        f"; {found.other_settings} other settings could stand here, with less evidence" if found.other_settings else ""
    )
    say(console, f"{about}{more}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for column in COLUMNS[published.measure]:
        table.add_column(column, justify="right")
    for cell in found.cells:
        if cell.mean:
            table.add_row(*_row(cell, published.measure, cell.mean))
    console.print(table)
    if lacking := [cell.line.label for cell in found.cells if not cell.mean]:
        say(console, f"{NO_EVIDENCE} for: {', '.join(lacking)}")


def _row(cell: Cell, measure: Measure, found: Interval) -> tuple[str, ...]:
    mean = _ranged(found, measure)
    if cell.step_ms is not None and measure == "seconds":
        mean += f", {cell.step_ms:.0f} ms a step"
    gain, published = ("", "") if cell.gain is None else (_gain(cell.gain, measure), _change(cell.gain, measure))
    versus = f" to {cell.line.versus}" if cell.line.versus else ""
    return _label(cell), mean, str(found.n), _value(cell.line.published, measure), gain, published + versus


def _label(cell: Cell) -> str:
    beside = cell.line.kd_beside and cell.runs and "kd" in cell.runs[0].config["methods"]
    return f"{cell.line.label}, beside KD" if beside else cell.line.label


def _gain(gain: Gain, measure: Measure) -> str:
    if gain.interval is None:
        return gain.why or ""
    found, sign = gain.interval, "" if measure == "seconds" else "+"
    if found.low is None or found.high is None:
        return f"{found.estimate:{sign}.2f}, {'one pair' if gain.paired else 'not paired'}"
    return f"{found.estimate:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


def _change(gain: Gain, measure: Measure) -> str:
    return f"{gain.published:.2f}" if measure == "seconds" else f"{gain.published:+.2f}"


def _ranged(found: Interval, measure: Measure) -> str:
    if found.low is None or found.high is None:
        return f"{_value(found.estimate, measure)}, one seed"
    if measure == "seconds":
        half = (found.high - found.low) / 2
        return f"{_value(found.estimate, measure)} ± {half:.0f} s"
    return f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _value(value: float, measure: Measure) -> str:
    if measure == "miou_percent":
        return f"{value:.2f}"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{value:.0f} s" if value < 600 else f"{hours} h {minutes:02d}"

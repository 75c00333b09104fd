"""A comparison as text: the difference with its intervals, class by class, what it leaves open, and the answer."""

from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.comparison.comparison import Comparison, Side
from analysis.comparison.wording import answer, counted, ends, percent
from analysis.printing import numbers, say
from analysis.statistics import Interval


def print_comparison(compared: Comparison, console: Console | None = None) -> None:
    """Print it, the plain sentence last."""
    console = console or Console()
    sides = (("A", compared.a), ("B", compared.b))
    for letter, side in sides:
        say(console, f"{letter}  {_side(side)}")
    console.print()
    console.print(_differences(compared))
    console.print()
    console.print(_classes(compared))
    if compared.settings:
        console.print()
        console.print(_settings(compared))
    console.print()
    for note in compared.notes:
        say(console, f"note: {note}")
    say(console, sentence(compared))


def sentence(compared: Comparison) -> str:
    """The answer, as one sentence."""
    failures = [
        f"{side.failed} of {counted(side.ended, 'seed')} failed ({side.name})"
        for side in (compared.a, compared.b)
        if side.failed
    ]
    if failures:
        points = f"{compared.difference.estimate:+.2f} points"
        return f"no verdict: {'; '.join(failures)}; over the seeds that finished, no random part, A - B is {points}"
    return answer(compared.a.name, compared.b.name, compared.difference, compared.split)


def _side(side: Side) -> str:
    score = side.miou_percent
    interval = "" if score.low is None else f" [{score.low:.2f}, {score.high:.2f}] over seeds"
    runs = counted(score.n, "seed")
    return f"{side.name}: mIoU {score.estimate:.2f} %{interval} ({runs}; {side.folder}: {', '.join(side.trials)})"


def _differences(compared: Comparison) -> Table:
    found, seeds = compared.difference, compared.over_seeds
    table = numbers("", "value", "95 % interval", "evidence")
    images = counted(found.images, "image")
    both = f"{images} and {counted(found.seeds, 'seed')}" if found.seeds > 1 else f"{images}, seed noise unknown"
    table.add_row("A - B, points of mIoU", f"{found.estimate:+.2f}", ends(found), both)
    if found.seeds > 1:
        table.add_row("over seeds alone", f"{seeds.estimate:+.2f}", ends(seeds), counted(seeds.n, "pair"))
    if found.chance is not None and found.detectable is not None:
        table.add_row("chance that A is better", percent(found.chance), "", both)
        table.add_row("smallest detectable", f"{found.detectable:.2f}", "", "80 % power at 5 %")
    return table


def _classes(compared: Comparison) -> Table:
    table = numbers("IoU %", "A", "B", "A - B", "95 % interval", "images")
    rows = zip(
        compared.classes,
        compared.a.class_iou_percent,
        compared.b.class_iou_percent,
        compared.difference.classes,
        strict=True,
    )
    for name, a, b, difference in rows:
        table.add_row(name, _iou(a), _iou(b), *_difference(difference))
    return table


def _iou(value: float | None) -> str:
    return "does not occur" if value is None else f"{value:.2f}"


def _difference(found: Interval | None) -> tuple[str, str, str]:
    return ("", "", "0") if found is None else (f"{found.estimate:+.2f}", ends(found), str(found.n))


def _settings(compared: Comparison) -> Table:
    table = numbers("settings that differ", "A", "B")
    for path, (a, b) in compared.settings.items():
        table.add_row(path, _value(a), _value(b))
    return table


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:24]

"""The answer of `queries.best` as a table to read."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(answer: dict[str, Any], console: Console | None = None) -> None:
    """Print arms with their best trials, and the teacher.

    mIoU is that of the last evaluation; the best evaluation of the run, which is optimistic, stands beside it.
    """
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for column, justify in (
        ("arm", "left"),
        ("trial", "right"),
        ("mIoU %", "right"),
        ("best evaluation", "right"),
        ("trials", "right"),
        ("stopped early", "right"),
        ("failed", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for arm in answer["arms"]:
        states = arm["states"]
        counts = [str(sum(states.values())), *(str(states.get(s, 0)) for s in ("PRUNED", "FAIL"))]
        for trial in arm["best"] or [None]:
            table.add_row(arm["arm"], *_scores(trial), *counts)
    if answer["teacher"]:
        score = answer["teacher"]["miou_percent"]
        table.add_row("teacher", "", "not measured" if score is None else f"{score:.2f}")
    console.print(table)
    for arm in answer["arms"]:
        for trial in arm["best"]:
            line = f"{arm['arm']} {trial['trial']}: {_settings(trial)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _scores(trial: dict[str, Any] | None) -> tuple[str, str, str]:
    if trial is None:
        return "", "no finished trial", ""
    return str(trial["trial"]), f"{trial['last_miou_percent']:.2f}", f"{trial['best_miou_percent']:.2f}"


def _settings(trial: dict[str, Any] | None) -> str:
    values = (trial or {}).get("parameters", {})
    return " ".join(f"{path}={_short(value)}" for path, value in values.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

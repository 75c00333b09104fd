"""A verdict as text: the answer first, then what it rests on and what is missing."""

from rich.console import Console
from rich.table import Table

from analysis.comparison.wording import ends
from analysis.printing import say, wide
from analysis.verdict.ranking import Standing
from analysis.verdict.verdict import Verdict


def print_verdict(found: Verdict, console: Console | None = None) -> None:
    """Print it."""
    console = console or wide()
    for line in found.answer:
        say(console, line)
    console.print()
    console.print(_arms(found))
    for title, lines in (("tuning:", found.tuning), ("missing:", found.missing)):
        if lines:
            console.print()
            say(console, title)
        for line in lines:
            say(console, f"  {line}")


def _arms(found: Verdict) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    for column in ("mIoU %", "over seeds", "seeds", "- baseline", "interval", "finished", "spent"):
        table.add_column(column, justify="right", no_wrap=True)
    spends = {one.arm: f"{one.spent:.2f}" for one in found.tunings if one.spent is not None}
    for arm in found.arms:
        finished = f"{arm.states.get('COMPLETE', 0)} of {arm.trials}"
        table.add_row(*_row(arm.best, arm.arm, found), finished, spends.get(arm.arm, ""))
        for again in arm.replicates:
            table.add_row(*_row(again, again.name, found), "new seeds")
    return table


def _row(standing: Standing | None, name: str, found: Verdict) -> tuple[str, ...]:
    if standing is None:
        return name, "none", "", "", "", ""
    score, difference = standing.miou_percent, standing.difference
    estimate = "none" if score is None else f"{score.estimate:.2f}"
    over_seeds = "" if score is None or score.low is None else f"[{score.low:.2f}, {score.high:.2f}]"
    number = str(score.n if score else 0) + (
        f", {standing.failed} of {standing.ended} failed" if standing.failed else ""
    )
    points = "" if difference is None or difference.estimate is None else f"{difference.estimate:+.2f}"
    return standing.name, estimate, over_seeds, number, points, interval(standing, found.seed_points)


def interval(standing: Standing, seed_points: float | None) -> str:
    """That of the difference, or why there is none."""
    if standing.difference is None:
        return ""
    if standing.outcome == "one seed":
        return "seed noise unknown" if seed_points is None else f"seed noise {seed_points:.2f}"
    return "no verdict" if standing.outcome == "no verdict" else ends(standing.difference)

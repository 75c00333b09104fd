"""Tuning curves as text: what they say, and each arm's path."""

from rich.console import Console

from analysis.printing import numbers, say, wide
from analysis.tuning_curves.curves import ArmCurve
from analysis.tuning_curves.leaders import TuningCurves

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the common budget, at which the table has the best found."""


def print_tuning_curves(found: TuningCurves, console: Console | None = None) -> None:
    """Print them."""
    console = console or wide()
    for line in found.answers:
        say(console, line)
    if found.common is None:
        return
    costs = [share * found.common for share in SHARES]
    table = numbers("best mIoU % within", *(f"{cost:.2f}" for cost in costs), "expected", "spent")
    for curve in found.curves:
        if curve.path is not None:
            scores = (curve.path.at(cost) for cost in costs)
            cells = ("none" if score is None else f"{score:.2f}" for score in scores)
            table.add_row(curve.arm, *cells, _expected(curve, found.common), f"{curve.path.spent:.2f}")
    console.print()
    console.print(table)
    say(console, f"costs are whole trials of the plain student; {how_read(found)}")


def _expected(curve: ArmCurve, common: float) -> str:
    """The expectation at the common budget, or at the last cost before that it has."""
    if curve.expectation is None:
        return ""
    within = [place for place, cost in enumerate(curve.expectation.cost) if cost <= common] or [0]
    place = within[-1]
    low, high = curve.expectation.low[place], curve.expectation.high[place]
    return f"{curve.expectation.mean[place]:.2f} [{low:.2f}, {high:.2f}] at {curve.expectation.cost[place]:.2f}"


def how_read(found: TuningCurves) -> str:
    """What a path and an expectation mean, and which trials these rest on."""
    path = f"paths are what this search found, with {found.sampler}; another search would have gone another way"
    bands = [_band(curve) for curve in found.curves if curve.expectation is not None]
    return "; ".join([path, *bands])


def _band(curve: ArmCurve) -> str:
    one = curve.expectation
    assert one is not None
    form = "in closed form" if one.closed else "over 1,000 drawn orders, as they cost differently"
    which = "trials that were let run through, whatever they scored" if one.kept else "trials"
    said = f"{curve.arm}'s expectation is over the order of {one.trials} {which}, {form}; 90 % of the orders lie within"
    bias = f" ({one.stopped} that were stopped are left out, so it is too high)" if one.stopped and not one.kept else ""
    return f"{said}{bias}"

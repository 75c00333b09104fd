"""Numbers of statistics as plain words: never a number without its n, never more certain than the evidence."""

from collections.abc import Mapping
from typing import Any

from analysis.statistics import Difference, Interval
from analysis.studies.parameters import written


def answer(a: str, b: str, found: Difference, split: str) -> str:
    """What a difference A - B shows, in one sentence."""
    where = f"on {split} ({evidence(found)})"
    if found.low <= 0 <= found.high:
        return (
            f"this evidence cannot tell {a} from {b}: the difference is {found.estimate:+.2f} points {ends(found)} "
            f"{where}; the smallest that it could have shown is {found.detectable:.2f}"
        )
    better, worse = (a, b) if found.estimate > 0 else (b, a)
    low, high = sorted((abs(found.low), abs(found.high)))
    said = f"{better} is better than {worse} by {abs(found.estimate):.2f} points [{low:.2f}, {high:.2f}] {where}"
    if found.seeds > 1:
        return said
    return f"the network of {said}; one seed each cannot tell whether its settings are better"


def evidence(found: Difference) -> str:
    """`101 images, 5 seeds each`."""
    return f"{counted(found.images, 'image')}, {counted(found.seeds, 'seed')} each"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ends(interval: Interval | Difference) -> str:
    """`[+0.30, +1.30]`, or that there is none."""
    if interval.low is None or interval.high is None:
        return "[one seed: no interval]"
    return f"[{interval.low:+.2f}, {interval.high:+.2f}]"


def percent(share: float) -> str:
    """`97.5 %`; draws cannot show more than `more than 99.9 %`."""
    if share > 0.999:
        return "more than 99.9 %"
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def settings(parameters: Mapping[str, Any]) -> str:
    """`task/threshold=0.872 task/combine=and`."""
    return " ".join(f"{path}={written(value)}" for path, value in parameters.items())

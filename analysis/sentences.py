"""Numbers of statistics as plain words: never a number without its n, never more certain than the evidence."""

from collections.abc import Callable

from analysis.comparison import Comparison
from analysis.statistics import Difference, Interval


def answer(compared: Comparison) -> str:
    """What a comparison shows, in one sentence."""
    found, a, b = compared.difference, compared.a.name, compared.b.name
    where = f"on {compared.split} ({evidence(found)})"
    if found.low <= 0 <= found.high:
        return (
            f"this evidence cannot tell {a} from {b}: the difference is {signed(found.estimate)} points "
            f"{ends(found, signed)} {where}; it would have shown one of {found.detectable:.2f} or more"
        )
    better, worse = (a, b) if found.estimate > 0 else (b, a)
    size = abs(found.estimate)
    low, high = sorted((abs(found.low), abs(found.high)))
    said = f"{better} is better than {worse} by {size:.2f} points [{low:.2f}, {high:.2f}] {where}"
    if found.seeds > 1:
        return said
    return f"the network of {said}; whether its settings are better, one seed each cannot tell"


def evidence(found: Difference) -> str:
    """`101 images, 5 seeds each`."""
    return f"{found.images} images, {counted(found.seeds, 'seed')} each"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def signed(value: float) -> str:
    """`+0.80`."""
    return f"{value:+.2f}"


def plain(value: float) -> str:
    """`0.80`."""
    return f"{value:.2f}"


def ends(interval: Interval | Difference, number: Callable[[float], str]) -> str:
    """`[+0.30, +1.30]`, or that there is none."""
    if interval.low is None or interval.high is None:
        return "(one seed, no interval)"
    return f"[{number(interval.low)}, {number(interval.high)}]"


def chance(value: float | None) -> str:
    """`97.5 %`; draws cannot show more than `> 99.9 %`."""
    if value is None:
        return "unknown"
    if value > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if value < 0.001 else f"{100 * value:.1f} %"

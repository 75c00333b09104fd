"""Numbers of statistics as plain words: never a number without its n, never more certain than the evidence."""

from analysis.statistics import Difference, Interval, MethodDifference


def answer(a: str, b: str, found: Difference, split: str) -> str:
    """What a difference A - B shows, in one sentence."""
    on = place(split, images=found.images, groups=found.groups, over_images=found.over_images)
    where = f"{on}, {seeds_each(found.seeds)})"
    if found.low is None or found.high is None or found.detectable is None:
        return (
            f"this evidence cannot tell {a} from {b}: the difference is {found.estimate:+.2f} points {where}, and what "
            "another seed would give is unknown"
        )
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


def place(split: str, *, images: int, groups: float, over_images: bool) -> str:
    """`on val (500 images in 61 groups`, to be closed; on which images a difference holds."""
    number = counted(images, "image")
    if not over_images:
        return f"on these {number} of {split} (too few groups to speak of others: {groups:.3g}"
    return f"on {split} ({number}" if groups == images else f"on {split} ({number} in {groups:.3g} groups"


def seeds_each(seeds: int) -> str:
    """`5 seeds each`."""
    return f"{counted(seeds, 'seed')} each"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ends(interval: Interval | Difference | MethodDifference) -> str:
    """`[+0.30, +1.30]`, or that there is none."""
    if interval.low is None or interval.high is None:
        return "[one seed: no interval]"
    return f"[{interval.low:+.2f}, {interval.high:+.2f}]"


def percent(share: float) -> str:
    """`97.5 %`; draws cannot show more than `more than 99.9 %`."""
    if share > 0.999:
        return "more than 99.9 %"
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"

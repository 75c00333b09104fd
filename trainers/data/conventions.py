"""What label files most likely mean where they look as if they kept to another convention than was said.

Pure guesses from which values and colours occur how often. They are said to a person and change nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainers.data import IGNORE
from trainers.data.cityscapes import Dataset as Cityscapes

MOSTLY = 0.5
"""Share of the pixels from which something is taken for the rule."""
NEAR = 12
"""Difference of a channel up to which a colour may be another one that was compressed."""
Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What label files hold, and what that was said to mean.

    Attributes:
        names: of the classes.
        values: pixels by value, of labels of one channel.
        colours: pixels by RGB colour, of labels in colours.
        known_values: class or IGNORE by value.
        known_colours: class or IGNORE by colour.
    """

    names: Sequence[str]
    values: Mapping[int, int]
    colours: Mapping[Colour, int]
    known_values: Mapping[int, int]
    known_colours: Mapping[Colour, int]

    @cached_property
    def unknown(self) -> list[int]:
        """Values that stand for nothing."""
        return sorted(set(self.values) - set(self.known_values))

    @cached_property
    def ignored_share(self) -> float:
        """Share of the pixels of known values that count for nothing."""
        known = {value: count for value, count in self.values.items() if value in self.known_values}
        ignored = sum(count for value, count in known.items() if self.known_values[value] == IGNORE)
        return ignored / max(1, sum(known.values()))


def likely_meaning(seen: Seen) -> str | None:
    """What is most likely meant, with what to do, in a line; None where nothing is odd."""
    return next((found for guess in GUESSES if (found := guess(seen))), None)


def _mask_of_two(seen: Seen) -> str | None:
    if set(seen.values) != {0, 255} or seen.known_values.get(255, IGNORE) != IGNORE or len(seen.names) != 2:
        return None
    return f"labels hold 0 and 255 alone, as masks of one object do: set {_map([0, 255], seen.names)}"


def _class_numbers(seen: Seen) -> str | None:
    """Files that are called labelIds and hold trainIds: all that is not a class by chance is ignored."""
    numbers = set(seen.values) - {255}
    ignored = {number for number in numbers if seen.known_values.get(number) == IGNORE}
    if seen.ignored_share <= MOSTLY or len(ignored) < 2 or max(numbers) >= len(seen.names):
        return None
    return (
        f"labels hold {min(numbers)}..{max(numbers)} alone, and {100 * seen.ignored_share:.0f} % of the pixels are "
        "ignored: most likely they hold the numbers of the classes already (trainIds), not label ids; of own data "
        "leave map out and set ignore: [255], of Cityscapes name the files *_gtFine_labelTrainIds.png"
    )


def _label_ids(seen: Seen) -> str | None:
    """Cityscapes' own ids where the numbers of its 19 classes are expected."""
    reads_numbers = all(seen.known_values.get(number) == number for number in range(len(Cityscapes.ids)))
    if len(seen.names) != len(Cityscapes.ids) or not reads_numbers or not seen.unknown:
        return None
    if max(seen.unknown) > max(Cityscapes.ids):
        return None
    return (
        f"labels hold up to {max(seen.unknown)}: most likely they are Cityscapes' labelIds; set "
        f"{_map(Cityscapes.ids, seen.names)} and ignore the other ids up to 33"
    )


def _from_one(seen: Seen) -> str | None:
    count = len(seen.names)
    if seen.unknown != [count] or any(seen.known_values.get(place) != place for place in range(count)):
        return None
    return (
        f"labels hold 0..{count} for {count} classes: most likely they count from 1, and 0 is everything else; set "
        f"{_map(range(1, count + 1), seen.names)} and ignore: [0]"
    )


def _stretched(seen: Seen) -> str | None:
    """Classes spread over 0..255, so that labels can be looked at."""
    count = len(seen.names)
    spread = [round(place * 255 / (count - 1)) for place in range(count)]
    floored = [place * 255 // (count - 1) for place in range(count)]
    found = sorted(seen.values)
    if count < 3 or found not in (spread, floored):
        return None
    return f"labels hold {found}: most likely classes stretched to be seen; set {_map(found, seen.names)}"


def _instances(seen: Seen) -> str | None:
    large = [value for value in seen.unknown if value >= 1000]
    if not large or any(value // 1000 not in seen.known_values for value in large):
        return None
    return (
        f"labels hold {large[0]}: most likely ids of instances, 1000 * class + number; use the label files of classes, "
        "or divide them by 1000"
    )


def _swapped_channels(seen: Seen) -> str | None:
    unknown = set(seen.colours) - set(seen.known_colours)
    swapped = [colour for colour in unknown if colour[::-1] in seen.known_colours]
    if not swapped or _pixels(seen, swapped) < MOSTLY * _pixels(seen, unknown):
        return None
    return (
        f"labels hold RGB {min(swapped)}, of which the colour table has the channels the other way round: most likely "
        "one of the two is in BGR; write data.palette in the order in which the files hold them"
    )


def _blurred(seen: Seen) -> str | None:
    unknown = sorted(set(seen.colours) - set(seen.known_colours))
    if len(unknown) < len(seen.known_colours) or not seen.known_colours:
        return None
    table = np.array(sorted(seen.known_colours))
    near = [colour for colour in unknown if (abs(table - colour).max(1) <= NEAR).any()]
    if _pixels(seen, near) < MOSTLY * _pixels(seen, unknown):
        return None
    return (
        f"labels hold {len(unknown)} colours that are not in the colour table, most of them close to one that is: most "
        "likely they were compressed or smoothed; take labels that were never JPEG, and resize without interpolation"
    )


def _pixels(seen: Seen, colours: Collection[Colour]) -> int:
    return sum(seen.colours[colour] for colour in colours)


def _map(values: Iterable[int], names: Sequence[str]) -> str:
    return "map: {" + ", ".join(f"{value}: {name}" for value, name in zip(values, names, strict=True)) + "}"


GUESSES: tuple[Callable[[Seen], str | None], ...] = (
    _mask_of_two,
    _class_numbers,
    _label_ids,
    _from_one,
    _stretched,
    _instances,
    _swapped_channels,
    _blurred,
)

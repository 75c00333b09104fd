"""Guesses at what label files mean."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from trainers.data import IGNORE
from trainers.data.cityscapes import Dataset as Cityscapes
from trainers.data.conventions import Seen, likely_meaning

FIVE = {place: place for place in range(5)}
NAMES = ("a", "b", "c", "d", "e")
TABLE = {(10 * place, 50, 200 - place): place for place in range(5)}
LABEL_IDS = {
    **dict.fromkeys(range(34), IGNORE),
    **{label: place for place, label in enumerate(Cityscapes.ids)},
}
TRAIN_IDS = {**{place: place for place in range(19)}, 255: IGNORE}


def guess(
    values: Mapping[int, int] | Sequence[int] = (),
    known: Mapping[int, int] = FIVE,
    names: Sequence[str] = NAMES,
    colours: Mapping[tuple[int, int, int], int] | None = None,
    known_colours: Mapping[tuple[int, int, int], int] | None = None,
) -> str | None:
    counted = values if isinstance(values, Mapping) else dict.fromkeys(values, 100)
    return likely_meaning(
        Seen(
            names=names,
            values=counted,
            colours=colours or {},
            known_values=known,
            known_colours=known_colours or {},
        )
    )


GUESSED: dict[str, tuple[dict[str, Any], str]] = {
    "a mask": (
        {"values": (0, 255), "known": {0: 0, 1: 1}, "names": ("background", "object")},
        "masks of one object do: set map: {0: background, 255: object}",
    ),
    "a mask whose object is ignored": (
        {"values": (0, 255), "known": {0: 0, 1: 1, 255: IGNORE}, "names": ("background", "object")},
        "set map: {0: background, 255: object}",
    ),
    "trainIds as labelIds": (
        {"values": range(19), "known": LABEL_IDS, "names": Cityscapes.class_names},
        "68 % of the pixels are ignored: most likely they hold the numbers of the classes already (trainIds)",
    ),
    "labelIds as trainIds": (
        {"values": range(34), "known": TRAIN_IDS, "names": Cityscapes.class_names},
        "they are Cityscapes' labelIds; set map: {7: road, 8: sidewalk, 11: building",
    ),
    "counted from 1": ({"values": range(6)}, "count from 1, and 0 is everything else; set map: {1: a, 2: b, 3: c"),
    "stretched": ({"values": (0, 63, 127, 191, 255)}, "stretched to be seen; set map: {0: a, 63: b, 127: c"),
    "stretched and rounded": ({"values": (0, 64, 128, 191, 255)}, "set map: {0: a, 64: b, 128: c"),
    "instances": ({"values": (0, 1, 2000, 2001, 4000)}, "labels hold 2000: most likely ids of instances, 1000 * class"),
    "BGR": (
        {"colours": {colour[::-1]: 10 for colour in TABLE}, "known_colours": TABLE},
        "has the channels the other way round",
    ),
    "compressed": (
        {"colours": {(r + i, g, b - i): 5 for r, g, b in TABLE for i in range(4)}, "known_colours": TABLE},
        "15 colours that are not in the colour table, most of them close to one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GUESSED)
def test_another_convention_is_named_with_what_to_set(kind: str) -> None:
    seen, expected = GUESSED[kind]
    found = guess(**seen)
    assert found and expected in found


QUIET: dict[str, dict[str, Any]] = {
    "classes as said": {"values": range(5)},
    "fewer classes": {"values": (1, 3)},
    "nothing": {},
    "a stray value": {"values": (0, 1, 2, 77)},
    "labelIds": {"values": range(34), "known": LABEL_IDS, "names": Cityscapes.class_names},
    "mostly background that is ignored": {
        "values": {0: 900, 1: 10, 2: 10},
        "known": {0: IGNORE, **{place + 1: place for place in range(5)}},
    },
    "two classes of 0 and 255 as said": {"values": (0, 255), "known": {0: 0, 255: 1}, "names": ("a", "b")},
    "colours as said": {"colours": dict.fromkeys(TABLE, 5), "known_colours": TABLE},
    "a stray colour": {"colours": {**dict.fromkeys(TABLE, 5), (1, 2, 3): 5}, "known_colours": TABLE},
}


@pytest.mark.parametrize("kind", QUIET)
def test_nothing_is_said_of_what_is_as_it_was_said(kind: str) -> None:
    assert guess(**QUIET[kind]) is None

"""Of many points or trials the few that a figure can show, the same ones each time."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
POINTS = 3000
"""Points of a figure, about: more are neither seen nor carried by a page well."""


def thinned(points: Sequence[T], most: int) -> list[T]:
    """Of many points at equal distances at most `most`, and the last."""
    step = -(-len(points) // most)
    return [*points[:-1:step], points[-1]] if points else []


def sample(items: Sequence[T], size: int, seed: int = 0) -> list[T]:
    """At most `size` of the items, in their order, the same ones each time."""
    if len(items) <= size:
        return list(items)
    kept = sorted(random.Random(seed).sample(range(len(items)), size))
    return [items[position] for position in kept]


def sampled(shown: int, of: int, what: str) -> str:
    """How a title says that it shows a sample; empty where it shows all."""
    return f" ({shown:,} of {of:,} {what}, drawn at random)" if shown < of else ""

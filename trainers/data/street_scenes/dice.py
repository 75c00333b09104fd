"""Chance for drawing: many single draws at little cost, and the palettes they pick colours from.

A street takes about a thousand draws. A numpy generator needs 1 to 15 microseconds for one, so they are made in
blocks here and handed out one by one.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue in 0 to 255; OpenCV clips what lies outside."""

Choice = TypeVar("Choice")

VIVID: tuple[Colour, ...] = (
    (188, 36, 36),
    (36, 66, 152),
    (232, 232, 228),
    (222, 186, 44),
    (34, 108, 66),
    (40, 40, 44),
    (206, 104, 42),
)
"""Paint of signs, posters, shop fronts, bollards, coats and doors alike, so that it betrays none of them."""

GLASS: tuple[Colour, ...] = (
    (42, 48, 56),
    (72, 84, 96),
    (150, 168, 186),
    (212, 216, 216),
    (92, 78, 58),
)
METALS: tuple[Colour, ...] = ((66, 68, 70), (120, 122, 122), (178, 176, 168), (44, 52, 48))
LEAVES: tuple[Colour, ...] = (
    (64, 98, 34),
    (44, 72, 30),
    (96, 126, 44),
    (70, 88, 32),
    (136, 106, 50),
    (46, 52, 36),
)
PAINTS: tuple[Colour, ...] = (
    (214, 216, 218),
    (150, 154, 158),
    (96, 98, 104),
    (34, 36, 40),
    (138, 32, 34),
    (40, 58, 104),
    (52, 76, 58),
    (186, 170, 138),
)


class Dice:
    """Single draws from one generator, whose other draws they disturb; so give it a generator of its own."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.share = _shares(rng).__next__
        """Draws from [0, 1)."""

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.share()

    def chance(self, probability: float) -> bool:
        return self.share() < probability

    def upto(self, most: int) -> int:
        """One of 0, 1, ..., most."""
        return int(self.share() * (most + 1))

    def pick(self, options: Sequence[Choice]) -> Choice:
        return options[int(self.share() * len(options))]

    def tinted(self, colour: Colour, spread: float) -> Colour:
        """The colour up to `spread` brighter or darker, and a third of it off in each channel."""
        red, green, blue = colour
        light, tint = spread * (2 * self.share() - 4 / 3), spread * 2 / 3
        return (
            red + light + tint * self.share(),
            green + light + tint * self.share(),
            blue + light + tint * self.share(),
        )

    def colour(self, palette: Sequence[Colour], spread: float = 18) -> Colour:
        """One of the palette, tinted."""
        return self.tinted(self.pick(palette), spread)


def dimmed(colour: Colour, brightness: float) -> Colour:
    """The colour times a brightness."""
    red, green, blue = colour
    return red * brightness, green * brightness, blue * brightness


def _shares(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(512).tolist()

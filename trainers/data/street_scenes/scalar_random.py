"""Scalar random numbers at little cost, for drawing.

A street takes about a thousand of them. A numpy generator needs 1 to 15 microseconds for a single one, so they are
drawn in blocks and returned one by one.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from trainers.data.street_scenes.palettes import Colour

T = TypeVar("T")


class ScalarRandom:
    """Scalar random numbers from a numpy generator.

    Args:
        generator: used by nothing else, because numbers are drawn from it in advance.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = _uniform(generator).__next__
        """Uniform in [0, 1)."""

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.random()

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def integer(self, highest: int) -> int:
        """Uniform over 0, 1, ..., highest."""
        return int(self.random() * (highest + 1))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, uniformly."""
        return options[int(self.random() * len(options))]

    def tinted(self, colour: Colour, spread: float) -> Colour:
        """The colour, brighter or darker and of another hue.

        Args:
            colour: RGB.
            spread: all channels are shifted by one number in [-spread, spread), each by a further one in
                [-spread / 3, spread / 3); in grey levels.
        """
        red, green, blue = colour
        light, tint = spread * (2 * self.random() - 4 / 3), spread * 2 / 3
        return (
            red + light + tint * self.random(),
            green + light + tint * self.random(),
            blue + light + tint * self.random(),
        )

    def colour(self, palette: Sequence[Colour], spread: float = 18) -> Colour:
        """One colour of the palette, `tinted`."""
        return self.tinted(self.choice(palette), spread)


def _uniform(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(512).tolist()

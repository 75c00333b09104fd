"""Colours and the palettes they are drawn from, shared by objects of several classes on purpose.

A class must not be recognisable by its colour alone, else a small network would need no teacher.
"""

Colour = tuple[float, float, float]
"""Red, green, blue in 0 to 255; OpenCV clips what lies outside."""

VIVID: tuple[Colour, ...] = (
    (188, 36, 36),
    (36, 66, 152),
    (232, 232, 228),
    (222, 186, 44),
    (34, 108, 66),
    (40, 40, 44),
    (206, 104, 42),
)
"""Paint of signs, posters, shop fronts, bollards, coats and doors alike."""

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


def dimmed(colour: Colour, brightness: float) -> Colour:
    """The colour times a brightness."""
    red, green, blue = colour
    return red * brightness, green * brightness, blue * brightness

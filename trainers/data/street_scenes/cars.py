"""Cars: along the street, with one end and one side visible, or across it, with one side visible."""

import math

from trainers.data.street_scenes.canvas import Canvas
from trainers.data.street_scenes.classes import CAR, ROAD
from trainers.data.street_scenes.palettes import GLASS, PAINTS, Colour, dimmed
from trainers.data.street_scenes.scalar_random import ScalarRandom

SHADOW: Colour = (26, 26, 28)
RUBBER: Colour = (24, 24, 26)
LAMPS: tuple[Colour, ...] = ((176, 28, 24), (232, 228, 206))
NUMBER_PLATE: Colour = (214, 206, 150)


def car(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """A car along the street with its near end at (x, z) metres, and its shadow, whose class is road."""
    paint, glass = rng.colour(PAINTS, 24), rng.colour(GLASS)
    half, body, roof = rng.uniform(0.8, 0.95), rng.uniform(0.85, 1.05), rng.uniform(1.4, 1.9)
    far = z + rng.uniform(3.6, 4.8)
    left, right = x - half - 0.12, x + half + 0.12
    under = [(left, 0.0, z - 0.2), (right, 0.0, z - 0.2), (right, 0.0, far), (left, 0.0, far)]
    canvas.polygon(under, SHADOW, ROAD)
    flank(canvas, rng, x - math.copysign(half, x), (z, far), (body, roof), paint, glass)
    near_end(canvas, rng, (x, z), (half, body, roof), paint, glass)


def flank(
    canvas: Canvas,
    rng: ScalarRandom,
    x: float,
    depth: tuple[float, float],
    heights: tuple[float, float],
    paint: Colour,
    glass: Colour,
) -> None:
    """The visible side of a car at X = x; heights of its body and of its roof, all in metres."""
    (near, far), (body, roof) = depth, heights
    inner = x + math.copysign(0.15, x)
    side = [(x, 0.3, near), (x, 0.3, far), (x, body, far), (x, body, near)]
    canvas.polygon(side, dimmed(paint, rng.uniform(0.6, 1.0)), CAR)
    base = [(x, body, near + 0.1), (x, body, far - 1.1)]
    canvas.polygon([*base, (inner, roof, far - 1.7), (inner, roof, near + 0.6)], glass, CAR)
    for axle in (far - 0.8, near + 0.8):
        canvas.wheel((x, 0.32, axle), 0.32, RUBBER, CAR)


def near_end(
    canvas: Canvas,
    rng: ScalarRandom,
    place: tuple[float, float],
    extent: tuple[float, float, float],
    paint: Colour,
    glass: Colour,
) -> None:
    """Front or back of a car; extent is its half width, and the heights of its body and of its roof."""
    (x, z), (half, body, roof) = place, extent
    top, low, high = 0.78 * half, body + 0.06, roof - 0.12
    for wheel in (x - 0.75 * half, x + 0.75 * half):
        canvas.rectangle((wheel - 0.12, wheel + 0.12), (0.0, 0.4), z, RUBBER, CAR)
    canvas.rectangle((x - half, x + half), (0.22, body), z, paint, CAR)
    ends = [(x - half, body, z), (x + half, body, z)]
    canvas.polygon([*ends, (x + top, roof, z + 0.5), (x - top, roof, z + 0.5)], paint, CAR)
    ends = [(x - 0.85 * half, low, z), (x + 0.85 * half, low, z)]
    roofline = [(x + 0.9 * top, high, z + 0.4), (x - 0.9 * top, high, z + 0.4)]
    canvas.polygon([*ends, *roofline], glass, CAR)
    canvas.rectangle((x - half, x + half), (0.25, 0.4), z, dimmed(paint, 0.5), CAR)
    lamp = rng.colour(LAMPS)
    for edge in (x - 0.85 * half, x + 0.85 * half):
        canvas.rectangle((edge - 0.12, edge + 0.12), (body - 0.3, body - 0.1), z, lamp, CAR)
    canvas.rectangle((x - 0.25, x + 0.25), (0.5, 0.62), z, NUMBER_PLATE, CAR)


def crossing_car(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """A car across the street."""
    paint, glass, nose = rng.colour(PAINTS, 24), rng.colour(GLASS), rng.choice((-2.1, 2.1))
    canvas.rectangle((x - 2.1, x + 2.1), (0.0, 0.2), z, SHADOW, ROAD)
    canvas.rectangle((x - 2.1, x + 2.1), (0.25, 0.85), z, paint, CAR)
    for share, colour in ((1.0, paint), (0.82, glass)):
        high = 0.85 + 0.6 * share
        back, front = x - nose * share, x + nose * share
        cabin = [(back * 0.75 + x * 0.25, 0.85, z), (front * 0.6 + x * 0.4, 0.85, z)]
        roofline = [(front * 0.25 + x * 0.75, high, z), (back * 0.45 + x * 0.55, high, z)]
        canvas.polygon([*cabin, *roofline], colour, CAR)
    for axle in (x - 1.3, x + 1.3):
        canvas.disc((axle, 0.32, z), 0.33, RUBBER, CAR)

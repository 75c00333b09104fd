"""Houses.

Facades hold parts that resemble other classes: posters signs, doors people, drainpipes poles, and walls have the greys
of road and sky.
"""

import math

import numpy as np

from trainers.data.street_scenes.canvas import Canvas, Point
from trainers.data.street_scenes.classes import BUILDING
from trainers.data.street_scenes.palettes import GLASS, METALS, VIVID, Colour, dimmed
from trainers.data.street_scenes.scalar_random import ScalarRandom

WALLS: tuple[Colour, ...] = (
    (148, 96, 76),
    (122, 84, 70),
    (186, 166, 124),
    (206, 194, 168),
    (132, 132, 130),
    (92, 94, 98),
    (222, 220, 214),
    (168, 182, 196),
    (112, 112, 104),
    (72, 66, 62),
)
ROOFS: tuple[Colour, ...] = ((92, 70, 62), (70, 74, 82), (124, 84, 66), (58, 56, 56))


def windows(canvas: Canvas, rng: ScalarRandom, start: Point, end: Point, *, height: float, bay: float) -> None:
    """A grid of windows in two kinds of glass, one in every bay of about `bay` metres."""
    across = max(int(math.dist(start, end) / bay), 1)
    half, tall = rng.uniform(0.12, 0.35), rng.uniform(1.2, 2.2)
    columns = (np.arange(across)[:, None] + (0.5 - half, 0.5 + half)) / across
    rows = np.arange(0.8, max(height - 2.2, 1.0), 3.0)[:, None] + (0.0, tall)
    panes = canvas.grid(start, end, columns, rows)
    canvas.fill(panes, rng.colour(GLASS), BUILDING)
    canvas.fill([pane for pane in panes if rng.bernoulli(0.3)], rng.colour(GLASS), BUILDING)


def ground_floor(canvas: Canvas, rng: ScalarRandom, facade: float, depth: tuple[float, float], height: float) -> None:
    """A shop front; doors as large as people, posters like signs, drainpipes like poles."""
    near, far = depth

    def patch(z: float, length: float, y: tuple[float, float], colour: Colour) -> None:
        low, high = y
        ends = ((z, low), (z + length, low), (z + length, high), (z, high))
        canvas.polygon([(facade, y, z) for z, y in ends], colour, BUILDING)

    if rng.bernoulli(0.3):
        patch(near, far - near, (0.4, 2.9), rng.colour(GLASS))
        patch(near, far - near, (2.7, 3.4), rng.colour(VIVID))
    for _ in range(1 + rng.integer(2)):
        low, size = rng.choice((0.0, 0.0, 1.6, 2.4)), rng.uniform(0.6, 1.1)
        top = low + (size if low else 2.0)
        patch(rng.uniform(near, far - 1), size, (low, top), rng.colour(VIVID, 40))
    for _ in range(2):
        patch(rng.uniform(near, far), 0.13, (0.0, height), rng.colour(METALS))


def house(
    canvas: Canvas,
    rng: ScalarRandom,
    *,
    facade: float,
    depth: tuple[float, float],
    height: float,
    light: float,
) -> None:
    """Draw one house: roof, gable and facade.

    Args:
        canvas: to draw on.
        rng: of all that varies.
        facade: X of the wall along the street in metres, negative on the left.
        depth: Z of the house's near and far end, in metres.
        height: of the eaves, in metres.
        light: factor of the facade's brightness.
    """
    near, far = depth
    ridge, back = facade + math.copysign(4.5, facade), facade + math.copysign(9.0, facade)
    top = height + rng.choice((0.3, 2.5, 3.5))
    colour, dark = rng.colour(WALLS, 24), rng.uniform(0.6, 1.0)
    eaves = [(facade, height, near), (facade, height, far)]
    canvas.polygon([*eaves, (ridge, top, far), (ridge, top, near)], rng.colour(ROOFS), BUILDING)
    foot = [(facade, 0.0, near), (back, 0.0, near)]
    gable = [*foot, (back, height, near), (ridge, top, near), eaves[0]]
    canvas.polygon(gable, dimmed(rng.tinted(colour, 12), dark), BUILDING)
    if near < 40 and rng.bernoulli(0.5):
        windows(canvas, rng, foot[0], foot[1], height=height, bay=3.2)
    start, end = (facade, 0.0, near), (facade, 0.0, far)
    canvas.polygon([start, end, *reversed(eaves)], dimmed(colour, light), BUILDING)
    if near < 35:
        windows(canvas, rng, start, end, height=height, bay=rng.uniform(1.8, 3.5))
        ground_floor(canvas, rng, facade, depth, height)

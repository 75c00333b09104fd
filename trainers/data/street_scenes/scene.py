"""Composition of a street: sky, ground, background, rows of houses, then objects from far to near."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from trainers.data import IGNORE, Array
from trainers.data.street_scenes import objects
from trainers.data.street_scenes.buildings import WALLS, house, windows
from trainers.data.street_scenes.canvas import Canvas
from trainers.data.street_scenes.cars import car, crossing_car
from trainers.data.street_scenes.classes import BUILDING, PAVEMENT, ROAD, SKY, TREE
from trainers.data.street_scenes.palettes import LEAVES, PAINTS, Colour, dimmed
from trainers.data.street_scenes.scalar_random import ScalarRandom

NEAREST = 1.2
"""Metres ahead where drawing starts; the ground before it lies below the image."""

SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((206, 212, 218), (240, 240, 238)),
    ((112, 152, 200), (206, 220, 232)),
    ((152, 156, 162), (204, 204, 202)),
    ((104, 116, 144), (226, 190, 160)),
    ((236, 238, 240), (250, 250, 248)),
)
"""Colours at the zenith and at the horizon."""

Item = tuple[float, Callable[[], None]]
"""Depth in metres and the function that draws an object there; drawn in the order of falling depth."""


@dataclass(frozen=True, kw_only=True)
class Verge:
    """One side of the street: X in metres, negative on the left, and the brightness of its facades."""

    kerb: float
    wall: float
    facade: float
    light: float
    green: bool


def draw_street(generator: np.random.Generator, height: int, width: int) -> Array:
    """Draw a random street.

    Args:
        generator: of all random numbers; the same state gives the same scene at every size of one aspect ratio.
        height: of the image to be, in pixels.
        width: the same.

    Returns:
        uint8 [SUPERSAMPLING * height, SUPERSAMPLING * width, 4]: red, green, blue, class or IGNORE.
    """
    rng = ScalarRandom(generator)
    canvas = Canvas(
        height,
        width,
        focal=rng.uniform(1.0, 1.35),
        centre=(rng.uniform(0.3, 0.7), rng.uniform(0.42, 0.54)),
        eye=rng.uniform(1.3, 1.8),
    )
    setback, depth = rng.choice((0.5, 3.0, 8.0)), rng.uniform(40, 110)
    sides = verge(rng, -1, setback), verge(rng, 1, setback)
    sky(canvas, rng)
    ground(canvas, rng, sides, depth)
    far_end(canvas, rng, depth)
    for side in sides:
        terrace(canvas, rng, side, depth)
    items = traffic(canvas, rng, sides)
    for side in sides:
        items += boundary(canvas, rng, side) + furniture(canvas, rng, side)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if rng.bernoulli(0.15):
        bonnet(canvas, rng)
    return canvas.pixels


def verge(rng: ScalarRandom, side: int, setback: float) -> Verge:
    """A random side (-1 left, 1 right); `setback` is the largest distance of facades from the pavement, in metres."""
    kerb = rng.uniform(2.2, 6.0)
    wall = kerb + rng.uniform(1.8, 5.6)
    return Verge(
        kerb=side * kerb,
        wall=side * wall,
        facade=side * (wall + setback * rng.uniform(0.1, 1)),
        light=rng.uniform(0.5, 1.0),
        green=rng.bernoulli(0.4),
    )


def sky(canvas: Canvas, rng: ScalarRandom) -> None:
    """A vertical gradient with clouds over the whole canvas, drawn at 24 x 32 and enlarged because it is smooth."""
    zenith, low = rng.choice(SKIES)
    height, width = canvas.pixels.shape[:2]
    down = np.linspace(0, height / canvas.horizon, 24).clip(0, 1)[:, None, None]
    cover = rng.uniform(0, 80)
    nodes = np.array([[rng.random() - 0.5 for _ in range(5)] for _ in range(6)])
    clouds = cv2.resize(cover * nodes, (32, 24), interpolation=cv2.INTER_CUBIC)[..., None]
    gradient = (1 - down) * np.array(rng.tinted(zenith, 14)) + down * np.array(low) + clouds
    small = np.full((24, 32, 4), SKY, np.uint8)
    small[..., :3] = gradient.clip(0, 255)
    cv2.resize(small, (width, height), dst=canvas.pixels, interpolation=cv2.INTER_LINEAR)


def far_end(canvas: Canvas, rng: ScalarRandom, depth: float) -> None:
    """Houses and trees across the field of view at the end of the street."""
    start, right = canvas.reach(depth)
    step, low = (right - start) / (5 + rng.integer(3)), rng.uniform(2, 7)
    while start < right:
        end, height = start + step * rng.uniform(0.7, 1.3), low + rng.uniform(0, 7)
        if rng.bernoulli(0.4):
            objects.tree(canvas, rng, (start + end) / 2, depth, height=height)
        else:
            canvas.rectangle((start, end), (0.0, height), depth, rng.colour(WALLS, 30), BUILDING)
            if rng.bernoulli(0.4):
                wall = (start, 0.0, depth), (end, 0.0, depth)
                windows(canvas, rng, *wall, height=height, bay=4.0)
        start = end


def ground(canvas: Canvas, rng: ScalarRandom, sides: tuple[Verge, Verge], depth: float) -> None:
    """Verges, pavements, kerbs and the road, in similar greys so that colour does not separate them."""
    grey = rng.uniform(78, 148)
    tar = rng.tinted((grey, grey, grey), 6)
    stone = rng.colour((tar, (176, 168, 154), (150, 118, 104), dimmed(tar, 1.3), dimmed(tar, 1.3)), 12)
    for side in sides:
        outer = math.copysign(60, side.kerb)
        beyond = (rng.colour(LEAVES[:3]), TREE) if side.green else (stone, PAVEMENT)
        strip(canvas, (side.wall, outer), (NEAREST, depth), *beyond)
        strip(canvas, (side.kerb, side.wall), (NEAREST, depth), stone, PAVEMENT)
        strip(canvas, (0.0, side.kerb), (NEAREST, depth), tar, ROAD)
        edge = (side.kerb, side.kerb * 1.03)
        strip(canvas, edge, (NEAREST, depth), rng.tinted(stone, 40), PAVEMENT)
    if rng.bernoulli(0.3):
        near = rng.uniform(8, 24)
        strip(canvas, (-70, 70), (near, 1.4 * near), tar, ROAD)
    road_marks(canvas, rng, sides)


def strip(canvas: Canvas, x: tuple[float, float], z: tuple[float, float], colour: Colour, label: int) -> None:
    """A rectangle on the ground, from and to in X and Z, in metres."""
    corners = [(x[0], 0.0, z[0]), (x[1], 0.0, z[0]), (x[1], 0.0, z[1]), (x[0], 0.0, z[1])]
    canvas.polygon(corners, colour, label)


def road_marks(canvas: Canvas, rng: ScalarRandom, sides: tuple[Verge, Verge]) -> None:
    """Patches of asphalt of other greys, a dashed centre line, lines along the kerbs."""
    left, right = sides[0].kerb, sides[1].kerb
    for _ in range(1 + rng.integer(2)):
        x, z = rng.uniform(left, right - 1), rng.uniform(2.5, 20)
        across = (x, min(x + rng.uniform(0.4, 2.5), right))
        strip(canvas, across, (z, 1.5 * z), rng.tinted((104, 104, 104), 40), ROAD)
    paint = rng.tinted((196, 194, 186), 30)
    middle, z = (left + right) / 2 + rng.uniform(-1, 1), NEAREST + rng.uniform(0, 4)
    while z < 40:
        strip(canvas, (middle - 0.08, middle + 0.08), (z, z + 2.4), paint, ROAD)
        z += 5
    for side in sides:
        if rng.bernoulli(0.4):
            inside = side.kerb - math.copysign(0.4, side.kerb)
            strip(canvas, (inside, inside + 0.12), (NEAREST, 40), paint, ROAD)


def terrace(canvas: Canvas, rng: ScalarRandom, side: Verge, depth: float) -> None:
    """A row of houses on one side, from far to near, with gaps."""
    low, gaps, ends = rng.uniform(6, 12), rng.uniform(0, 0.25), [NEAREST]
    while ends[-1] < depth:
        ends.append(ends[-1] + rng.uniform(6, 14) * (1 + 0.04 * ends[-1]))
    for near, far in zip(reversed(ends[:-1]), reversed(ends[1:]), strict=True):
        if not rng.bernoulli(gaps):
            height, place = low + rng.uniform(0, 5), (near, far)
            house(canvas, rng, facade=side.facade, depth=place, height=height, light=side.light)


def boundary(canvas: Canvas, rng: ScalarRandom, side: Verge) -> list[Item]:
    """Trees, hedges, fences and bins along one side."""
    items: list[Item] = []
    for _ in range(rng.choice((0, 2, 3, 4, 6))):
        x, z = rng.uniform(0.85 * side.wall, 1.2 * side.facade), rng.uniform(5, 45)
        height = rng.uniform(5, 11)
        items.append((z, partial(objects.tree, canvas, rng, x, z, height=height)))
    for _ in range(2 * side.green):
        x, z = 1.05 * side.wall, rng.uniform(4, 25)
        items.append((z, partial(objects.hedge, canvas, rng, x, z, length=0.4 * z)))
    for _ in range(rng.integer(2)):
        z = rng.uniform(9, 40)
        items.append((z, partial(objects.clutter, canvas, rng, 0.97 * side.wall, z)))
    return items + (fences(canvas, rng, side) if rng.bernoulli(0.42) else [])


def fences(canvas: Canvas, rng: ScalarRandom, side: Verge) -> list[Item]:
    """A fence at the kerb or behind the pavement, in pieces, so that depth sorting puts people between them."""
    x, z = rng.choice((1.05 * side.kerb, side.wall)), rng.uniform(2.5, 10)
    boards = rng.colour(objects.BOARDS) if rng.bernoulli(0.4) else None
    items: list[Item] = []
    for _ in range(2 + rng.integer(3)):
        length = 0.3 * z
        draw = partial(objects.fence, canvas, rng, x, z, length=length, boards=boards)
        items.append((z, draw))
        z += length
    return items


def furniture(canvas: Canvas, rng: ScalarRandom, side: Verge) -> list[Item]:
    """Lamp posts, signs, bollards and people on one pavement."""
    items: list[Item] = []
    for draw, most, nearest in (
        (objects.lamp_post, 4, 5),
        (objects.sign, 3, 8.5),
        (objects.bollard, 2, 6),
        (objects.person, 2, 4.8),
    ):
        for _ in range(rng.integer(most)):
            x = side.kerb + (side.wall - side.kerb) * rng.uniform(0.1, 0.9)
            z = nearest / rng.uniform(0.3, 1.0)
            items.append((z, partial(draw, canvas, rng, x, z)))
    return items


def traffic(canvas: Canvas, rng: ScalarRandom, sides: tuple[Verge, Verge]) -> list[Item]:
    """Cars parked, driving and crossing; bicyclists; people on the road."""
    items: list[Item] = []
    for side in sides:
        x, z = side.kerb - math.copysign(1.05, side.kerb), rng.uniform(4, 14)
        for _ in range(rng.choice((0, 0, 1, 1, 3))):
            items.append((z, partial(car, canvas, rng, x, z)))
            z += rng.uniform(5.5, 9)
    for draw, most, nearest in (
        (car, 2, 10),
        (crossing_car, 1, 12),
        (objects.bicyclist, 1, 8.5),
        (objects.person, 1, 9),
    ):
        for _ in range(rng.integer(most)):
            x = rng.uniform(sides[0].kerb + 1.1, sides[1].kerb - 1.1)
            z = nearest / rng.uniform(0.25, 1.0)
            items.append((z, partial(draw, canvas, rng, x, z)))
    return items


def bonnet(canvas: Canvas, rng: ScalarRandom) -> None:
    """The bonnet of the car that carries the camera; void, as in CamVid."""
    height, width = canvas.pixels.shape[:2]
    centre = (round(rng.uniform(0.4, 0.6) * width), round(1.05 * height))
    axes = (round(0.8 * width), round(rng.uniform(0.08, 0.16) * height))
    colour = dimmed(rng.colour(PAINTS), 0.7)
    cv2.ellipse(canvas.pixels, centre, axes, 0, 0, 360, (*colour, IGNORE), cv2.FILLED)

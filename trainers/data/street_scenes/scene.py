"""One street, composed: sky, ground, far end, terraces, then all that stands on it from far to near."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from trainers.data import IGNORE, Array
from trainers.data.street_scenes import objects as objects
from trainers.data.street_scenes.buildings import WALLS, house, windows
from trainers.data.street_scenes.canvas import Canvas
from trainers.data.street_scenes.cars import car, crossing_car
from trainers.data.street_scenes.classes import BUILDING, PAVEMENT, ROAD, SKY, TREE
from trainers.data.street_scenes.dice import LEAVES, PAINTS, Colour, Dice, dimmed

NEAREST = 1.2
"""Metres ahead where drawing starts; the ground before it lies below the image."""

HEAVENS: tuple[tuple[Colour, Colour], ...] = (
    ((206, 212, 218), (240, 240, 238)),
    ((112, 152, 200), (206, 220, 232)),
    ((152, 156, 162), (204, 204, 202)),
    ((104, 116, 144), (226, 190, 160)),
    ((236, 238, 240), (250, 250, 248)),
)
"""Colours at the zenith and at the horizon."""

Item = tuple[float, Callable[[], None]]
"""What to draw and at which depth: the far ones come first."""


@dataclass(frozen=True, kw_only=True)
class Verge:
    """One side of the street: X in metres, all with the sign of the side, and the light on its houses."""

    kerb: float
    wall: float
    facade: float
    light: float
    green: bool


def draw_street(rng: np.random.Generator, height: int, width: int) -> Array:
    """A street.

    Args:
        rng: decides everything, and the same for every height and width of one ratio.
        height: of the image to be, in pixels.
        width: the same.

    Returns:
        uint8 [SUPERSAMPLING * height, SUPERSAMPLING * width, 4]: red, green, blue, class or IGNORE.
    """
    dice = Dice(rng)
    canvas = Canvas(
        height,
        width,
        focal=dice.between(1.0, 1.35),
        centre=(dice.between(0.3, 0.7), dice.between(0.42, 0.54)),
        eye=dice.between(1.3, 1.8),
    )
    setback, depth = dice.pick((0.5, 3.0, 8.0)), dice.between(40, 110)
    sides = verge(dice, -1, setback), verge(dice, 1, setback)
    sky(canvas, dice)
    ground(canvas, dice, sides, depth)
    far_end(canvas, dice, depth)
    for side in sides:
        terrace(canvas, dice, side, depth)
    items = traffic(canvas, dice, sides)
    for side in sides:
        items += boundary(canvas, dice, side) + furniture(canvas, dice, side)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if dice.chance(0.15):
        bonnet(canvas, dice)
    return canvas.pixels


def verge(dice: Dice, side: int, setback: float) -> Verge:
    """A side at random; `setback` is how far at most the houses stand behind the pavement."""
    kerb = dice.between(2.2, 6.0)
    wall = kerb + dice.between(1.8, 5.6)
    return Verge(
        kerb=side * kerb,
        wall=side * wall,
        facade=side * (wall + setback * dice.between(0.1, 1)),
        light=dice.between(0.5, 1.0),
        green=dice.chance(0.4),
    )


def sky(canvas: Canvas, dice: Dice) -> None:
    """A gradient with clouds, over the whole canvas; drawn small, for it is smooth."""
    zenith, low = dice.pick(HEAVENS)
    height, width = canvas.pixels.shape[:2]
    down = np.linspace(0, height / canvas.horizon, 24).clip(0, 1)[:, None, None]
    cover = dice.between(0, 80)
    nodes = np.array([[dice.share() - 0.5 for _ in range(5)] for _ in range(6)])
    clouds = cv2.resize(cover * nodes, (32, 24), interpolation=cv2.INTER_CUBIC)[..., None]
    heaven = (1 - down) * np.array(dice.tinted(zenith, 14)) + down * np.array(low) + clouds
    small = np.full((24, 32, 4), SKY, np.uint8)
    small[..., :3] = heaven.clip(0, 255)
    cv2.resize(small, (width, height), dst=canvas.pixels, interpolation=cv2.INTER_LINEAR)


def far_end(canvas: Canvas, dice: Dice, depth: float) -> None:
    """Houses and trees across the view, where the street ends."""
    start, right = canvas.reach(depth)
    step, low = (right - start) / (5 + dice.upto(3)), dice.between(2, 7)
    while start < right:
        end, height = start + step * dice.between(0.7, 1.3), low + dice.between(0, 7)
        if dice.chance(0.4):
            objects.tree(canvas, dice, (start + end) / 2, depth, height=height)
        else:
            canvas.rectangle((start, end), (0.0, height), depth, dice.colour(WALLS, 30), BUILDING)
            if dice.chance(0.4):
                wall = (start, 0.0, depth), (end, 0.0, depth)
                windows(canvas, dice, *wall, height=height, bay=4.0)
        start = end


def ground(canvas: Canvas, dice: Dice, sides: tuple[Verge, Verge], depth: float) -> None:
    """Verges, pavements and the road, with kerbs, in greys that are nearly the same."""
    grey = dice.between(78, 148)
    tar = dice.tinted((grey, grey, grey), 6)
    stone = dice.colour((tar, (176, 168, 154), (150, 118, 104), dimmed(tar, 1.3), dimmed(tar, 1.3)), 12)
    for side in sides:
        outer = math.copysign(60, side.kerb)
        beyond = (dice.colour(LEAVES[:3]), TREE) if side.green else (stone, PAVEMENT)
        strip(canvas, (side.wall, outer), (NEAREST, depth), *beyond)
        strip(canvas, (side.kerb, side.wall), (NEAREST, depth), stone, PAVEMENT)
        strip(canvas, (0.0, side.kerb), (NEAREST, depth), tar, ROAD)
        edge = (side.kerb, side.kerb * 1.03)
        strip(canvas, edge, (NEAREST, depth), dice.tinted(stone, 40), PAVEMENT)
    if dice.chance(0.3):
        near = dice.between(8, 24)
        strip(canvas, (-70, 70), (near, 1.4 * near), tar, ROAD)
    road_marks(canvas, dice, sides)


def strip(canvas: Canvas, x: tuple[float, float], z: tuple[float, float], colour: Colour, label: int) -> None:
    """A rectangle of ground."""
    corners = [(x[0], 0.0, z[0]), (x[1], 0.0, z[0]), (x[1], 0.0, z[1]), (x[0], 0.0, z[1])]
    canvas.polygon(corners, colour, label)


def road_marks(canvas: Canvas, dice: Dice, sides: tuple[Verge, Verge]) -> None:
    """Patches of other tar, a dashed middle line, lines along the kerbs."""
    left, right = sides[0].kerb, sides[1].kerb
    for _ in range(1 + dice.upto(2)):
        x, z = dice.between(left, right - 1), dice.between(2.5, 20)
        across = (x, min(x + dice.between(0.4, 2.5), right))
        strip(canvas, across, (z, 1.5 * z), dice.tinted((104, 104, 104), 40), ROAD)
    paint = dice.tinted((196, 194, 186), 30)
    middle, z = (left + right) / 2 + dice.between(-1, 1), NEAREST + dice.between(0, 4)
    while z < 40:
        strip(canvas, (middle - 0.08, middle + 0.08), (z, z + 2.4), paint, ROAD)
        z += 5
    for side in sides:
        if dice.chance(0.4):
            inside = side.kerb - math.copysign(0.4, side.kerb)
            strip(canvas, (inside, inside + 0.12), (NEAREST, 40), paint, ROAD)


def terrace(canvas: Canvas, dice: Dice, side: Verge, depth: float) -> None:
    """The houses of one side, from far to near, with gaps."""
    low, gaps, ends = dice.between(6, 12), dice.between(0, 0.25), [NEAREST]
    while ends[-1] < depth:
        ends.append(ends[-1] + dice.between(6, 14) * (1 + 0.04 * ends[-1]))
    for near, far in zip(reversed(ends[:-1]), reversed(ends[1:]), strict=True):
        if not dice.chance(gaps):
            height, place = low + dice.between(0, 5), (near, far)
            house(canvas, dice, facade=side.facade, depth=place, height=height, light=side.light)


def boundary(canvas: Canvas, dice: Dice, side: Verge) -> list[Item]:
    """Trees, hedges, fences and bins along one side."""
    items: list[Item] = []
    for _ in range(dice.pick((0, 2, 3, 4, 6))):
        x, z = dice.between(0.85 * side.wall, 1.2 * side.facade), dice.between(5, 45)
        height = dice.between(5, 11)
        items.append((z, partial(objects.tree, canvas, dice, x, z, height=height)))
    for _ in range(2 * side.green):
        x, z = 1.05 * side.wall, dice.between(4, 25)
        items.append((z, partial(objects.hedge, canvas, dice, x, z, length=0.4 * z)))
    for _ in range(dice.upto(2)):
        z = dice.between(9, 40)
        items.append((z, partial(objects.clutter, canvas, dice, 0.97 * side.wall, z)))
    return items + (fences(canvas, dice, side) if dice.chance(0.42) else [])


def fences(canvas: Canvas, dice: Dice, side: Verge) -> list[Item]:
    """A fence at the kerb or behind the pavement, in pieces that people can stand between."""
    x, z = dice.pick((1.05 * side.kerb, side.wall)), dice.between(2.5, 10)
    boards = dice.colour(objects.BOARDS) if dice.chance(0.4) else None
    items: list[Item] = []
    for _ in range(2 + dice.upto(3)):
        length = 0.3 * z
        draw = partial(objects.fence, canvas, dice, x, z, length=length, boards=boards)
        items.append((z, draw))
        z += length
    return items


def furniture(canvas: Canvas, dice: Dice, side: Verge) -> list[Item]:
    """Lamp posts, signs, bollards and people on one pavement."""
    items: list[Item] = []
    for draw, most, nearest in (
        (objects.lamp_post, 4, 5),
        (objects.sign, 3, 8.5),
        (objects.bollard, 2, 6),
        (objects.person, 2, 4.8),
    ):
        for _ in range(dice.upto(most)):
            x = side.kerb + (side.wall - side.kerb) * dice.between(0.1, 0.9)
            z = nearest / dice.between(0.3, 1.0)
            items.append((z, partial(draw, canvas, dice, x, z)))
    return items


def traffic(canvas: Canvas, dice: Dice, sides: tuple[Verge, Verge]) -> list[Item]:
    """Cars parked, driving and crossing; bicyclists; people on the road."""
    items: list[Item] = []
    for side in sides:
        x, z = side.kerb - math.copysign(1.05, side.kerb), dice.between(4, 14)
        for _ in range(dice.pick((0, 0, 1, 1, 3))):
            items.append((z, partial(car, canvas, dice, x, z)))
            z += dice.between(5.5, 9)
    for draw, most, nearest in (
        (car, 2, 10),
        (crossing_car, 1, 12),
        (objects.bicyclist, 1, 8.5),
        (objects.person, 1, 9),
    ):
        for _ in range(dice.upto(most)):
            x = dice.between(sides[0].kerb + 1.1, sides[1].kerb - 1.1)
            z = nearest / dice.between(0.25, 1.0)
            items.append((z, partial(draw, canvas, dice, x, z)))
    return items


def bonnet(canvas: Canvas, dice: Dice) -> None:
    """The front of the car that carries the camera, void as in CamVid."""
    height, width = canvas.pixels.shape[:2]
    centre = (round(dice.between(0.4, 0.6) * width), round(1.05 * height))
    axes = (round(0.8 * width), round(dice.between(0.08, 0.16) * height))
    colour = dimmed(dice.colour(PAINTS), 0.7)
    cv2.ellipse(canvas.pixels, centre, axes, 0, 0, 360, (*colour, IGNORE), cv2.FILLED)

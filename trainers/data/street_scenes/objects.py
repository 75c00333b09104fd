"""Objects on a street, one function each, which draws it at (x, z) metres on the ground.

Their palettes overlap with one another and with those of houses: only shape, size and position distinguish a dark bush
from a dark car, or a bollard from a child.
"""

import math

from trainers.data import IGNORE
from trainers.data.street_scenes.canvas import Canvas
from trainers.data.street_scenes.classes import BICYCLIST, FENCE, PEDESTRIAN, POLE, SIGN, TREE
from trainers.data.street_scenes.palettes import LEAVES, METALS, PAINTS, VIVID, Colour, dimmed
from trainers.data.street_scenes.scalar_random import ScalarRandom

TRUNK: Colour = (74, 64, 54)
RUBBER: Colour = (28, 28, 30)
BOARDS: tuple[Colour, ...] = ((122, 100, 76), (96, 96, 92), (150, 140, 120))
TROUSERS: tuple[Colour, ...] = ((36, 36, 42), (58, 62, 84), (104, 98, 92), (142, 132, 112))
COATS: tuple[Colour, ...] = (*TROUSERS, (142, 58, 52), (198, 192, 182), (70, 84, 64), *VIVID)
HEADS: tuple[Colour, ...] = ((214, 172, 148), (150, 108, 84), (84, 60, 48), (36, 36, 42))


def tree(canvas: Canvas, rng: ScalarRandom, x: float, z: float, *, height: float) -> None:
    """A trunk with a crown of overlapping discs, or of bare branches with background between them."""
    colour, bare = rng.colour(LEAVES), rng.bernoulli(0.25)
    wide = height * rng.uniform(0.22, 0.4)
    canvas.bar((x, 0.0, z), (x, height * 0.7, z), 0.05 * height, rng.tinted(TRUNK, 24), TREE)
    for _ in range(14 if z < 25 else 8):
        across = rng.random() + rng.random() - 1
        up = rng.random() + rng.random() - 1
        clump = dimmed(colour, 0.75 + 0.3 * up + 0.3 * rng.random())
        end = (x + 1.2 * wide * across, height * (0.68 + 0.32 * up), z)
        if bare:
            canvas.bar((x, height * 0.45, z), end, 0.02 * height, clump, TREE)
        else:
            canvas.disc(end, 0.45 * wide, clump, TREE)


def hedge(canvas: Canvas, rng: ScalarRandom, x: float, z: float, *, length: float) -> None:
    """A row of bushes along the street, as high as a car."""
    colour, bushes = rng.colour(LEAVES), 6
    for bush in range(bushes, 0, -1):
        radius = rng.uniform(0.45, 0.95)
        centre = (x, 0.6 * radius, z + length * bush / bushes)
        canvas.disc(centre, radius, dimmed(colour, rng.uniform(0.7, 1.1)), TREE)


def lamp_post(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """A tall pole, often with an arm over the road."""
    height, half = rng.uniform(4.5, 9.0), rng.uniform(0.05, 0.08)
    colour = rng.colour(METALS)
    canvas.rectangle((x - half, x + half), (0.0, height), z, colour, POLE)
    if rng.bernoulli(0.6):
        end = x - math.copysign(rng.uniform(0.8, 2.2), x)
        canvas.bar((x, height, z), (end, height + 0.3, z), 0.12, colour, POLE)


def bollard(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """A pole as high as a child, in any paint."""
    half, height = rng.uniform(0.07, 0.13), rng.uniform(0.8, 1.2)
    canvas.rectangle((x - half, x + half), (0.0, height), z, rng.colour(VIVID, 40), POLE)


def sign(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """A disc, a triangle, a plate or a traffic light on a pole."""
    height, size = rng.uniform(2.0, 3.4), rng.uniform(0.4, 0.8)
    canvas.rectangle((x - 0.05, x + 0.05), (0.0, height), z, rng.colour(METALS), POLE)
    rng.choice((round_sign, triangle, plate, traffic_light))(canvas, rng, (x, height, z), size)


def round_sign(canvas: Canvas, rng: ScalarRandom, centre: tuple[float, float, float], size: float) -> None:
    """A disc with a rim."""
    canvas.disc(centre, size, rng.colour(VIVID, 30), SIGN)
    canvas.disc(centre, 0.6 * size, rng.colour(VIVID), SIGN)


def triangle(canvas: Canvas, rng: ScalarRandom, centre: tuple[float, float, float], size: float) -> None:
    """A triangle, on its base."""
    x, y, z = centre
    corners = [(x - size, y - size, z), (x + size, y - size, z), (x, y + size, z)]
    canvas.polygon(corners, rng.colour(VIVID, 30), SIGN)
    canvas.disc((x, y - 0.3 * size, z), 0.35 * size, rng.colour(VIVID), SIGN)


def plate(canvas: Canvas, rng: ScalarRandom, centre: tuple[float, float, float], size: float) -> None:
    """A rectangle with a line of writing."""
    x, y, z = centre
    half = size * rng.uniform(0.8, 2.4)
    canvas.rectangle((x - half, x + half), (y - size, y + size), z, rng.colour(VIVID, 30), SIGN)
    line = (x - 0.7 * half, x + 0.7 * half)
    canvas.rectangle(line, (y, y + 0.3 * size), z, rng.colour(VIVID), SIGN)


def traffic_light(canvas: Canvas, rng: ScalarRandom, centre: tuple[float, float, float], size: float) -> None:
    """A dark box with one lamp lit; CamVid counts it as a sign."""
    x, y, z = centre
    canvas.rectangle((x - 0.4 * size, x + 0.4 * size), (y - size, y + size), z, RUBBER, SIGN)
    lamps: tuple[tuple[float, Colour], ...] = ((0.6, (220, 48, 36)), (-0.6, (60, 200, 120)))
    up, colour = rng.choice(lamps)
    canvas.disc((x, y + up * size, z), 0.25 * size, colour, SIGN)


def fence(canvas: Canvas, rng: ScalarRandom, x: float, z: float, *, length: float, boards: Colour | None) -> None:
    """A piece of fence along the street: boards, or railings with the street seen through them."""
    height, colour, rails = 1.15, rng.colour(METALS), 8
    panel = [(x, 0.0, z), (x, 0.0, z + length), (x, height, z + length), (x, height, z)]
    if boards:
        canvas.polygon(panel, rng.tinted(boards, 8), FENCE)
        return
    canvas.relabel(panel, FENCE)
    for rail in range(rails, 0, -1):
        at = z + length * rail / rails
        canvas.bar((x, 0.0, at), (x, height, at), 0.03, colour, FENCE)
    for up in (0.15, height):
        canvas.bar((x, up, z), (x, up, z + length), 0.05, colour, FENCE)


def person(
    canvas: Canvas,
    rng: ScalarRandom,
    x: float,
    z: float,
    *,
    hips: float = 0.85,
    lean: float = 0.0,
    label: int = PEDESTRIAN,
) -> None:
    """Somebody on foot, or on a bicycle where `label` says so.

    Args:
        canvas: to draw on.
        rng: of all that varies.
        x: metres to the right.
        z: metres ahead.
        hips: their height above the ground, in metres.
        lean: how far the shoulders are to the right of the hips, in metres.
        label: PEDESTRIAN or BICYCLIST.
    """
    size, coat, trousers = rng.uniform(0.85, 1.08), rng.colour(COATS, 25), rng.colour(TROUSERS)
    stride, hips = rng.uniform(0.05, 0.25), hips * size
    shoulders, hand = (x + lean, hips + 0.55 * size, z), hips + 0.1
    for sideways in (-stride, stride):
        canvas.bar((x, hips, z), (x + sideways, 0.08, z), 0.17, trousers, label)
    canvas.bar((x, hips, z), shoulders, 0.4 * size, coat, label)
    for sideways in (-0.25, 0.25):
        end = (x + sideways + 1.6 * lean, hand, z)
        canvas.bar(shoulders, end, 0.1, dimmed(coat, 0.8), label)
    canvas.disc((x + 1.25 * lean, hips + 0.78 * size, z), 0.13, rng.colour(HEADS), label)


def bicyclist(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """Somebody on a bicycle, from behind or from the side."""
    if rng.bernoulli(0.5):
        canvas.bar((x - 0.28, 1.0, z), (x + 0.28, 1.0, z), 0.06, rng.colour(METALS), BICYCLIST)
        person(canvas, rng, x, z, hips=0.95, label=BICYCLIST)
        canvas.bar((x, 0.0, z), (x, 0.7, z), 0.08, RUBBER, BICYCLIST)
        return
    ahead = rng.choice((-0.52, 0.52))
    bicycle(canvas, rng, x, z, ahead)
    start = x - 0.3 * ahead
    person(canvas, rng, start, z, hips=0.92, lean=0.6 * ahead, label=BICYCLIST)


def bicycle(canvas: Canvas, rng: ScalarRandom, x: float, z: float, ahead: float) -> None:
    """A bicycle from its side, front wheel at x + ahead; background between its parts is bicyclist, as in CamVid."""
    outline = [(x - 0.8, 0.0, z), (x + 0.8, 0.0, z), (x + 0.5, 0.75, z), (x - 0.5, 0.75, z)]
    canvas.relabel(outline, BICYCLIST)
    metal = rng.colour(METALS)
    for hub in (x - ahead, x + ahead):
        canvas.ring((hub, 0.34, z), 0.34, 0.07, RUBBER, BICYCLIST)
        canvas.bar((hub, 0.34, z), (x, 0.8, z), 0.06, metal, BICYCLIST)
    canvas.bar((x - 0.3 * ahead, 0.85, z), (x + 0.9 * ahead, 0.95, z), 0.06, metal, BICYCLIST)


def clutter(canvas: Canvas, rng: ScalarRandom, x: float, z: float) -> None:
    """Bins and boxes; void, as in CamVid."""
    half, height = rng.uniform(0.25, 0.6), rng.uniform(0.6, 1.4)
    colour, across = rng.colour((*PAINTS, *VIVID), 25), (x - half, x + half)
    canvas.rectangle(across, (0.0, height), z, colour, IGNORE)
    canvas.rectangle(across, (0.8 * height, height), z, dimmed(colour, 0.6), IGNORE)

"""The sections of pictures: what the networks predict on some images, and what RDD finds hard in one."""

import math
from collections.abc import Iterator

import numpy as np

from analysis.figures.style import rgb
from analysis.pictures.drawing import RIGHT, WHITE, class_map, photograph, right_map
from analysis.pictures.predictions import (
    BASELINE,
    BEST,
    IGNORED,
    ONLY_BASELINE,
    ONLY_BEST,
    RDD,
    TEACHER,
    Pictures,
    PredictedImage,
    who_is_right,
)
from analysis.report.section import Image, Panel, Section
from analysis.report.source import Source

TITLE = "Pictures of predictions"


def pictured(source: Source) -> Section:
    """Truth, predictions and where they differ, of images chosen by their difference and at random."""
    found = source.pictures
    if isinstance(found, str):
        return Section(key="pictures", title=TITLE, text=(found,))
    text = (
        "Images of the largest difference show what a difference looks like, not how common it is; those drawn at "
        "random are the same in every report on this dataset. A percentage is the mIoU of that image alone.",
    )
    return Section(
        key="pictures",
        title=TITLE,
        text=text,
        panels=tuple(Panel(heading=f"{one.name}: {one.why}", images=tuple(_tiles(found, one))) for one in found.images),
        swatches=tuple(_swatches(found)),
        notes=found.notes,
    )


def hard(source: Source) -> Section:
    """RDD's maps of the first of these images."""
    found, title = source.pictures, "What RDD finds hard"
    if isinstance(found, str):
        return Section(key="hard", title=title, text=(found,))
    if not found.difficulty:
        why = "It needs a finished trial whose task loss RDD weighs, its checkpoint, and the teacher's file."
        return Section(key="hard", title=title, text=(why,))
    caption = f"{found.images[0].name}: predictions, confidences, TFE weight, and what the TSE stage keeps"
    panel = Panel(heading="", images=(Image(caption=caption, content=found.difficulty),))
    seen = (
        f"The first of the images above, as {found.names[RDD]} and its teacher see it at the evaluation that judges it."
    )
    return Section(key="hard", title=title, text=(seen,), panels=(panel,))


def _tiles(pictures: Pictures, one: PredictedImage) -> Iterator[Image]:
    yield Image(caption="image", content=photograph(one.image))
    yield Image(caption="ground truth", content=class_map(one.label, pictures.palette))
    for whose in (TEACHER, BASELINE, BEST):
        if whose in one.predictions:
            caption = f"{pictures.names[whose]}{_score(one.miou_percent[whose])}"
            yield Image(caption=caption, content=class_map(one.predictions[whose], pictures.palette))
    if BASELINE in one.predictions:
        content = right_map(who_is_right(one.label, one.predictions))
        yield Image(caption=f"where they differ{_shares(pictures, one)}", content=content)


def _score(percent: float) -> str:
    return "" if math.isnan(percent) else f": {percent:.1f} %"


def _shares(pictures: Pictures, one: PredictedImage) -> str:
    if not one.agreement:
        return ""
    sides = ((BEST, ONLY_BEST), (BASELINE, ONLY_BASELINE))
    said = ", ".join(f"{one.agreement[code]:.1f} % only {pictures.names[whose]} right" for whose, code in sides)
    return f": {said}"


def _swatches(pictures: Pictures) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """The classes that occur in the pictures, and who is right."""
    drawn = [one.label for one in pictures.images] + [p for one in pictures.images for p in one.predictions.values()]
    there = np.unique(np.concatenate([classes.ravel() for classes in drawn]))
    named = ((rgb(pictures.palette[n]), pictures.class_names[n]) for n in there if n != IGNORED)
    ignored = (rgb(WHITE), "ignored")
    yield "classes", (*named, *((ignored,) if IGNORED in there else ()))
    if BASELINE in pictures.names:
        called = {"best": pictures.names[BEST], "baseline": pictures.names[BASELINE]}
        yield "where they differ", tuple((rgb(colour), text.format(**called)) for colour, text in RIGHT.values())

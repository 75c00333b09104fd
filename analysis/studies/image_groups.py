"""Which images belong together, from the table `images`: frames of one drive are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.studies.study import Study

FILMED = {"camvid": "frames of a few drives"}
"""Datasets whose images are less than independent, and what they are."""


@dataclass(frozen=True)
class ImageGroups:
    """The groups of some images.

    Attributes:
        names: [images], the group of each; None where each counts as its own.
        missing: what is not known of them, as a sentence; empty where they are known.
    """

    names: NDArray[np.str_] | None
    missing: str = ""


def image_groups(study: Study, images: Sequence[str], split: str) -> ImageGroups:
    """The group of each image of a split.

    Where the study does not tell, frames of a dataset that was filmed count as one group, and other images each as its
    own: the one can be too strict, the other too lenient, which `missing` says.
    """
    known = _read(study, split)
    if known.keys() >= set(images):
        return ImageGroups(np.array([known[image] for image in images]))
    remedy = f"kdstudy resume {study.folder} writes it where the data is"
    if study.dataset in FILMED:
        what = f"{study.dataset}'s are {FILMED[study.dataset]} and alike, so all count as one"
        return ImageGroups(np.full(len(images), study.dataset), f"groups of images: {what}; {remedy}")
    return ImageGroups(None, f"groups of images: which belong together is not known, so each counts as one; {remedy}")


def _read(study: Study, split: str) -> dict[str, str]:
    try:
        rows = study.table("images", columns=["image", "group"], where=pc.field("split") == split)
    except FileNotFoundError:
        return {}
    return dict(zip(rows["image"].to_pylist(), rows["group"].to_pylist(), strict=True))

"""The images that a trial is trained and evaluated on: a dataset's splits, or a holdout of its training images.

A holdout saves the validation split for an evaluation of the search's result on images the search never used. Whether
an image is held out depends on its name alone, so all studies with one share hold out the same images, and a larger
share holds out those of a smaller one and more. Where training images are frames of videos, as CamVid's, neighbours
fall on both sides: a holdout's score is then nearer to that of the training images than the validation split's is.
Groups that a folder of one's own names are held out whole.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from trainers.data import Array, SegmentationDataset, Split
from trainers.data.derived import Derived
from trainers.data.groups import image_group
from trainers.registry import module_of

SALT = "kdstudy holdout"

Judged = Literal["train", "val", "test", "holdout"]


class Part(Derived):
    """Some images of a split, a `SegmentationDataset`."""

    def __init__(self, whole: SegmentationDataset, indices: Sequence[int]) -> None:
        super().__init__(whole)
        self._indices = tuple(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def image_name(self, index: int) -> str:
        return super().image_name(self._indices[index])

    def image_group(self, index: int) -> str:
        return super().image_group(self._indices[index])

    def load(self, index: int) -> tuple[Array, Array]:
        return super().load(self._indices[index])


def is_held_out(name: str, share: float) -> bool:
    """Whether the image of this name is among those that a holdout of `share` leaves out of training."""
    digest = hashlib.blake2b(f"{SALT}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


Opener = Callable[[Any, Split], SegmentationDataset]
"""Gives a split of a dataset's configuration."""


def open_split(data: Any, split: Split) -> SegmentationDataset:
    """A split of a dataset's configuration, read each time from where it lies.

    Raises:
        ValueError: the dataset is not there.
    """
    opened: SegmentationDataset = module_of(data).Dataset(data, split)
    return opened


def training_images(data: Any, *, holdout: float = 0.0, opener: Opener = open_split) -> SegmentationDataset:
    """The training split of a dataset's configuration, without what is held out.

    Args:
        data: the configuration.
        holdout: share that is held out.
        opener: opens the split.

    Raises:
        ValueError: the dataset is not there, or nothing is left.
    """
    whole = opener(data, "train")
    return _part(whole, holdout, held_out=False) if holdout else whole


def judging_images(
    data: Any, split: Judged, *, holdout: float = 0.0, opener: Opener = open_split
) -> SegmentationDataset:
    """The images that a trial is judged on.

    Args:
        data: the dataset's configuration.
        split: one of its splits, or the holdout of the training split.
        holdout: share that is held out.
        opener: opens the split.

    Raises:
        ValueError: the dataset is not there, no labels of this split are published, or nothing is held out.
    """
    if split == "holdout":
        if not holdout:
            raise ValueError(
                "a holdout must hold training images out, but got holdout=0; set holdout to a share such as 0.2"
            )
        return _part(opener(data, "train"), holdout, held_out=True)
    dataset = module_of(data).Dataset
    if split not in dataset.labelled:
        raise ValueError(_unlabelled(data, split, f"none are published for {data.name}'s {split} split"))
    judged = opener(data, split)
    # of one's own folders, whether there are labels is seen when they are read
    if not getattr(judged, "is_labelled", True):
        raise ValueError(_unlabelled(data, split, f"the {split} images have none"))
    return judged


def _unlabelled(data: Any, split: Judged, why: str) -> str:
    others = " or ".join(name for name in module_of(data).Dataset.labelled if name != split)
    return (
        f"a trial must be judged on a split with labels, but {why}; choose {others}, or hand predictions in: kdstudy "
        "evaluate --split test --export"
    )


def _part(whole: SegmentationDataset, share: float, *, held_out: bool) -> SegmentationDataset:
    indices = [i for i in range(len(whole)) if is_held_out(_key(whole, i), share) == held_out]
    if not indices:
        raise ValueError(
            f"a holdout must leave images on both sides, but holdout={share} of {len(whole)} training images does not; "
            "change the share, or take more images"
        )
    return Part(whole, indices)


def _key(whole: SegmentationDataset, index: int) -> str:
    """What decides whether an image is held out: its name, or its group where a folder of one's own has groups."""
    by_group = getattr(whole, "splits_by_group", False)
    return image_group(whole, index) if by_group else whole.image_name(index)

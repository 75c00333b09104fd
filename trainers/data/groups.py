"""Which images belong together: frames of one drive look alike, and statistics must not take them for independent.

A dataset that is filmed says so by naming the group of each image; any other has a group for each image. A pattern
over the images' names wins over both, for datasets of one's own in a published layout.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from trainers.data import SegmentationDataset


@runtime_checkable
class GroupedDataset(Protocol):
    """A dataset of which some images belong together."""

    def image_group(self, index: int) -> str:
        """The group of an image; images that share it are not independent."""
        ...


def image_group(data: SegmentationDataset, index: int) -> str:
    """The group of an image as its dataset has it, else the image's own name."""
    return data.image_group(index) if isinstance(data, GroupedDataset) else data.image_name(index)


def image_groups(data: SegmentationDataset, pattern: str | None = None) -> dict[str, str]:
    """The group of every image by its name.

    Args:
        data: the images.
        pattern: a regular expression that is searched for in each name; what it captures is the group, several parts
            joined by "_". None for the dataset's own groups.

    Raises:
        ValueError: the pattern is no regular expression, captures nothing, or does not fit a name.
    """
    names = [data.image_name(index) for index in range(len(data))]
    if pattern is None:
        return {name: image_group(data, index) for index, name in enumerate(names)}
    group = named_group(pattern)
    return {name: group(name) for name in names}


def named_group(pattern: str | None) -> Callable[[str], str]:
    """The group of an image by its name: what a pattern captures of it; for None the name itself.

    Raises:
        ValueError: the pattern is no regular expression, or captures nothing; when called, it does not fit a name.
    """
    return str if pattern is None else partial(_captured, _compiled(pattern))


def _compiled(pattern: str) -> re.Pattern[str]:
    example = r"for example ^([^_]+)_ for what stands before the first underscore"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression, but got {pattern!r}: {error}; {example}") from None
    if not compiled.groups:
        raise ValueError(
            f"must capture the part of a name that is the group, but {pattern!r} captures none; put that part in "
            f"parentheses, {example}"
        )
    return compiled


def _captured(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(name)
    if found is None or None in found.groups():
        raise ValueError(
            f"must fit the name of every image, but {pattern.pattern!r} does not fit {name!r}; widen it, or leave it "
            "out for the dataset's own groups"
        )
    return "_".join(found.groups())

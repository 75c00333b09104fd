"""How a trial opens the splits of its dataset: so that no image is decoded twice where that can be had."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from trainers.data import SegmentationDataset, Split
from trainers.data.decoded.copies import NoCopyError, copy_of
from trainers.data.decoded.images import CachedImages, CopiedImages, Memory
from trainers.data.decoded.key import key
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.splits import open_split

CACHE_MIB = 512
"""What a process keeps of images that no copy has, over all splits."""


class Reader:
    """Opens splits, each with a copy on disk where the plan has one, else with a cache in this process's memory.

    Args:
        plan: of the copies; None for none.
        warn: says once why images are decoded more often than they should be.
        cache_mib: the cache's size.
    """

    def __init__(
        self,
        plan: DecodedPlan | None = None,
        *,
        warn: Callable[[str], None] = warnings.warn,
        cache_mib: int = CACHE_MIB,
    ) -> None:
        self._plan, self._warn_of = plan, warn
        self._memory = Memory(cache_mib * 2**20)
        self._warned = False

    def __call__(self, data: Any, split: Split) -> SegmentationDataset:
        """A split of a dataset's configuration.

        Raises:
            ValueError: the dataset is not there, or a file of it cannot be read.
        """
        whole = open_split(data, split)
        # the names of the classes are the class's own in other datasets, and here the instance's
        cached = cast(SegmentationDataset, CachedImages(whole, self._memory))
        folder = self._copy(data, split, whole)
        return cast(SegmentationDataset, CopiedImages(whole, cached, folder, self._warn)) if folder else cached

    def _copy(self, data: Any, split: Split, whole: SegmentationDataset) -> Path | None:
        if self._plan is None or not len(whole) or (found := key(data, split, whole)) is None:
            return None
        try:
            return copy_of(data, found, whole, self._plan)
        except NoCopyError as error:
            self._warn(str(error))
            return None

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn_of(message)

"""Datasets that decode an image once: read from a copy on disk, or kept in this process's memory."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainers.data import Array, SegmentationDataset
from trainers.data.decoded import file
from trainers.data.derived import Derived


class CopiedImages(Derived):
    """A split read from its copy; what the copy lacks is decoded, and added to it.

    Any number of processes may share a copy. Each adds what it happens to decode first, so nobody waits and a process
    that is killed leaves nothing half done. A copy's image is held against its checksum when this process reads it for
    the first time. Whatever is wrong with the copy, the images are the same.

    Args:
        whole: the split, which decodes.
        instead: the same split where the copy takes no more images.
        folder: of the copy.
        warn: called with what is wrong with the copy, each time that something is.
    """

    def __init__(
        self, whole: SegmentationDataset, instead: SegmentationDataset, folder: Path, warn: Callable[[str], None]
    ) -> None:
        super().__init__(whole)
        self._instead, self._folder, self._warn = instead, folder, warn
        self._verified: set[int] = set()
        self._grows = True

    def load(self, index: int) -> tuple[Array, Array]:
        if (found := self._copied(index)) is not None:
            return found
        if not self._grows:
            return self._instead.load(index)
        found = self._whole.load(index)
        self._add(index, *found)
        return found

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:07d}"

    def _copied(self, index: int) -> tuple[Array, Array] | None:
        try:
            found = file.read(self._path(index), verify=index not in self._verified)
        except FileNotFoundError:
            return None
        except file.DamagedImageError as error:
            self._warn(f"{error}; it is decoded again")
            with suppress(OSError):
                self._path(index).unlink()
            return None
        except OSError as error:
            self._warn(f"decoded images must be readable, but {self._path(index)} is not: {error.strerror}")
            return None
        self._verified.add(index)
        return found

    def _add(self, index: int, image: Array, label: Array) -> None:
        try:
            file.write(self._path(index), image, label)
        except OSError as error:
            self._grows = False
            self._warn(
                f"decoded images cannot be kept in {self._folder}: {error.strerror}; what is missing there is decoded "
                "each time; free the disk, or choose another folder for them"
            )


@dataclass
class Memory:
    """What a process may still keep of decoded images, in bytes."""

    free: int


class CachedImages(Derived):
    """A split of which this process keeps the images that it decoded, as many as fit."""

    def __init__(self, whole: SegmentationDataset, memory: Memory) -> None:
        super().__init__(whole)
        self._memory = memory
        self._kept: dict[int, tuple[Array, Array]] = {}

    def load(self, index: int) -> tuple[Array, Array]:
        if index in self._kept:
            return self._kept[index]
        image, label = self._whole.load(index)
        if image.nbytes + label.nbytes <= self._memory.free:
            self._memory.free -= image.nbytes + label.nbytes
            self._kept[index] = image, label
        return image, label

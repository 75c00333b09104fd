"""Checkpoints in a folder, local or on NFS: each is written under another name and renamed into place."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trainers.checkpoints.base import ALL, Checkpoints, DamagedError, interim_name_of, name_of
from trainers.checkpoints.manifest import fault, write

WRITING = "checkpoint.writing"
"""Name of a folder that is being written."""


class FolderCheckpoints(Checkpoints):
    """Checkpoints in a folder."""

    @property
    def folder(self) -> Path:
        return Path(self.place)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("checkpoint_[0-9]*"))

    def interim_names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("interim_[0-9]*"))

    def write(self, files: Mapping[str, bytes], *, iteration: int, best: int) -> None:
        write(self.folder / WRITING, files)

    def add(self, *, iteration: int, best: int) -> None:
        self._commit(name_of(iteration))
        for old in (*self._outdated(self.names(), best), *self.interim_names()):
            shutil.rmtree(self.folder / old)

    def write_interim(self, files: Mapping[str, bytes], *, iteration: int) -> None:
        write(self.folder / WRITING, files)
        self._commit(name := interim_name_of(iteration))
        for old in self.interim_names():
            if old != name:
                shutil.rmtree(self.folder / old)

    def _commit(self, name: str) -> None:
        place = self.folder / name
        if place.exists():  # of an earlier attempt that came this far
            shutil.rmtree(place)
        (self.folder / WRITING).rename(place)

    def drop(self) -> None:
        shutil.rmtree(self.folder / WRITING, ignore_errors=True)

    @contextmanager
    def open(self, name: str, files: Collection[str] = ALL) -> Iterator[Path]:
        if wrong := fault(self.folder / name, files):
            raise DamagedError(wrong)
        yield self.folder / name

    def _clear_up(self) -> None:
        self.drop()

    def _set_aside(self, name: str) -> None:
        aside = self.folder / f"damaged_{name}"
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / name).rename(aside)

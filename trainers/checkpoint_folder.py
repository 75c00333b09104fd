"""Checkpoints on disk: written whole or not at all, proved by checksums, the newest ones and the best one kept.

A checkpoint is written into a folder of another name, its manifest last, and renamed into place. The rename guards
against a killed process; the manifest against all that comes later: a machine that loses its power, a disk that loses
a file, a copy that was cut short. So nothing waits for the disk, and what is read was checked before.
"""

import errno
import hashlib
import json
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

KEEP = 2
"""Newest checkpoints that are kept: a trial is at most two reports ahead of who reads them."""

WEIGHTS, STATE, EVALUATIONS = "weights.safetensors", "state.pt", "evaluations.npz"
TRIAL, METRICS = "trial.json", "metrics.json"
MANIFEST = "manifest.json"
WRITING = "checkpoint.writing"
"""Name of a folder that is being written."""


def _load_state(path: Path) -> object:
    return torch.load(path, weights_only=True, map_location="cpu")


def _load_arrays(path: Path) -> object:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


READERS: Mapping[str, Callable[[Path], object]] = {
    TRIAL: lambda path: json.loads(path.read_text()),
    WEIGHTS: load_file,
    STATE: _load_state,
    METRICS: lambda path: json.loads(path.read_text()),
    EVALUATIONS: _load_arrays,
}
"""The files of a checkpoint, and what reads each; none of them unpickles more than tensors."""

UNREADABLE = (
    OSError, ValueError, RuntimeError, EOFError, KeyError, SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What these readers raise for a file that is cut short or damaged."""


class FullDiskError(ValueError):
    """A checkpoint did not fit on its disk."""


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` anew with these files, and a manifest of them as the last one.

    Raises:
        FullDiskError: nothing of `folder` is left.
        OSError: anything else that keeps a file from being written; likewise.
    """
    path = folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files.items():
            path = folder / name
            path.write_bytes(content)
        path = folder / MANIFEST
        path.write_text(json.dumps({"files": {name: _sum(content) for name, content in files.items()}}))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(path, sum(map(len, files.values())), error) from None
        raise


def _sum(content: bytes) -> dict[str, int | str]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _full(path: Path, size: int, error: OSError) -> FullDiskError:
    there = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(there).free
    return FullDiskError(
        f"a checkpoint of {size / 1e6:,.1f} MB must fit on the disk, but {path} could not be written: "
        f"{error.strerror}; {free / 1e6:,.1f} MB are free in {there}: free some space and run the trial again"
    )


def fault(folder: Path, names: Collection[str] = tuple(READERS)) -> str | None:
    """What is wrong with a checkpoint, naming the file; None where its files `names` are as they were written.

    Checkpoints of versions before the manifest have none; of them all `names` must be there and readable.
    """
    manifest = folder / MANIFEST
    try:
        sums = json.loads(manifest.read_text())["files"]
        expected = {name: (int(sums[name]["bytes"]), str(sums[name]["sha256"])) for name in names}
    except FileNotFoundError:
        return next(filter(None, (_unreadable(folder / name) for name in names)), None)
    except (*UNREADABLE, TypeError) as error:
        return f"{manifest} does not say what it should: {_told(error)}"
    return next(filter(None, (_differs(folder / name, *expected[name]) for name in names)), None)


def _differs(path: Path, size: int, sha256: str) -> str | None:
    try:
        found = path.stat().st_size
        if found != size:
            return f"{path} must have {size:,} bytes, but has {found:,}"
        with path.open("rb") as file:
            summed = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None if summed == sha256 else f"{path} must have sha256 {sha256[:12]}, but has {summed[:12]}"


def _unreadable(path: Path) -> str | None:
    try:
        READERS[path.name](path)
    except UNREADABLE as error:
        return f"{path} cannot be read: {_told(error)}"
    return None


def _told(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


class Checkpoints:
    """The checkpoints of one trial, `checkpoint_<iteration>` in its folder; one process at a time adds to them.

    Args:
        folder: the trial's.
        keep: newest checkpoints that are kept, beside the one of the best evaluation.
    """

    def __init__(self, folder: Path, keep: int = KEEP) -> None:
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """The folders in place, oldest first, damaged ones among them."""
        return sorted(self.folder.glob("checkpoint_[0-9]*"))

    def of(self, iteration: int) -> Path:
        """The folder of an iteration's checkpoint, whether it is there or not."""
        return self.folder / f"checkpoint_{iteration:09d}"

    def whole(self) -> Iterator[Path]:
        """The folders that are not damaged, newest first."""
        return (path for path in reversed(self.all()) if fault(path) is None)

    def add(self, written: Path, *, iteration: int, best: int) -> None:
        """Take over a folder that `write` made, and drop what is not kept.

        Args:
            written: on the same file system.
            iteration: of this checkpoint.
            best: iteration of the best evaluation so far.
        """
        place = self.of(iteration)
        if place.exists():  # of an earlier attempt that came this far
            shutil.rmtree(place)
        written.rename(place)
        for old in self.all()[: -self.keep]:
            if old != self.of(best):
                shutil.rmtree(old)

    def latest(self) -> tuple[Path | None, str | None]:
        """The newest whole checkpoint, None where there is none; and what to tell of newer ones that are damaged.

        These are moved aside, so that they neither count among the newest nor are lost to a look at them.
        """
        shutil.rmtree(self.folder / WRITING, ignore_errors=True)  # of an attempt that died
        faults: list[str] = []
        for path in reversed(self.all()):
            wrong = fault(path)
            if wrong is None:
                return path, f"{'; '.join(faults)}; the trial goes on from {path.name}" if faults else None
            faults.append(wrong)
            self._set_aside(path)
        return None, f"{'; '.join(faults)}; no checkpoint is left, so the trial starts anew" if faults else None

    def _set_aside(self, path: Path) -> None:
        aside = path.with_name(f"damaged_{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)

"""One checkpoint as a folder on disk: its files, the manifest that proves them, and what can be wrong with them.

The manifest is written last and holds a checksum of every file, against all that comes later: a machine that loses its
power, a disk that loses a file, a copy that was cut short. So nothing waits for the disk, and what is read was checked
before. Which checkpoints a trial has, and where, is the business of `checkpoints`.
"""

import errno
import hashlib
import json
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from trainers.resources.faults import MachineFaultError

WEIGHTS, STATE, EVALUATIONS = "weights.safetensors", "state.pt", "evaluations.npz"
TRIAL, METRICS = "trial.json", "metrics.json"
MANIFEST = "manifest.json"
EARLIER = "earlier"
"""Key of `metrics.json` that holds the reports before the last one, oldest first."""


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


class UnwritableError(MachineFaultError):
    """A checkpoint could not be written to its folder."""


class FullDiskError(UnwritableError):
    """A checkpoint did not fit on its disk."""


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` anew with these files, and a manifest of them as the last one.

    Raises:
        UnwritableError: nothing of `folder` is left; a FullDiskError where there was no space.
    """
    path = folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files.items():
            path = folder / name
            path.write_bytes(content)
        path = folder / MANIFEST
        path.write_bytes(manifest(files))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(path, sum(map(len, files.values())), error) from None
        raise UnwritableError(
            f"a checkpoint must be written to {folder.parent}, but {path.name} could not be: {error.strerror}; "
            "have the folder made writable"
        ) from None


def manifest(files: Mapping[str, bytes]) -> bytes:
    """What proves these files, as the content of the last one."""
    return json.dumps({"files": {name: _sum(content) for name, content in files.items()}}).encode()


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
    proof = folder / MANIFEST
    try:
        sums = json.loads(proof.read_text())["files"]
        expected = {name: (int(sums[name]["bytes"]), str(sums[name]["sha256"])) for name in names}
    except FileNotFoundError:
        return next(filter(None, (_unreadable(folder / name) for name in names)), None)
    except (*UNREADABLE, TypeError) as error:
        return f"{proof} does not say what it should: {_message(error)}"
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
        return f"{path} cannot be read: {_message(error)}"
    return None


def _message(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]

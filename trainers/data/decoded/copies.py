"""The copies in a folder: which there are, what they take, and whether another one fits.

A copy is a folder with a note and a file for each image that was decoded so far. Its note is written before the first
image, under a lock and with the size that the whole copy will have, so two processes never fill the quota twice.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from trainers.config import plain
from trainers.data import SegmentationDataset
from trainers.data.decoded.file import WRITING, file_bytes
from trainers.data.decoded.key import Key, environment, name_of
from trainers.data.decoded.plan import FREE_SHARE, DecodedPlan

NOTE = "copy.json"
LOCK = "lock"
SAMPLED = 8
"""Images of a split by whose sizes the copy's is predicted."""
ABANDONED_S = 3600
"""Seconds after which nobody is writing a file any more that is not written to its end."""


class NoCopyError(ValueError):
    """Decoded images cannot be kept; the message says why and what to do."""


def copy_of(data: Any, found: Key, dataset: SegmentationDataset, plan: DecodedPlan) -> Path:
    """The folder of a split's copy, made where there is none yet.

    Args:
        data: the dataset's configuration.
        found: the split's key.
        dataset: the opened split.
        plan: where copies are kept.

    Raises:
        NoCopyError: it does not fit, or the folder cannot be written.
        ValueError: an image cannot be read.
    """
    folder = Path(plan.folder) / name_of(found)
    if (folder / NOTE).exists():
        _remove_abandoned(folder)
        return folder
    needed = predicted_bytes(dataset)
    try:
        Path(plan.folder).mkdir(parents=True, exist_ok=True)
        with _locked(Path(plan.folder)):
            if not (folder / NOTE).exists():
                _begin(folder, needed, origin(data, found), plan)
    except OSError as error:
        raise NoCopyError(
            f"decoded images must be kept where files can be written and locked, but {plan.folder} is not such a "
            f"place: {error.strerror}; they are decoded each time; choose another folder, or set decoded_images to off"
        ) from None
    return folder


def taken_bytes(place: str) -> int:
    """What all copies in a folder take, once they are whole."""
    return sum(int(note["bytes"]) for _, note in _notes(Path(place)))


def origin(data: Any, found: Key) -> dict[str, Any]:
    """What a copy was made of, by place and not by content: a later copy of the same stands in for it."""
    return {"data": plain(data), "split": found["split"], **environment()}


def predicted_bytes(dataset: SegmentationDataset) -> int:
    """Size of a whole copy, from that of a few images, evenly spread over the split."""
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), SAMPLED)).round().astype(int))
    return round(float(np.mean([file_bytes(dataset.load(int(index))[1]) for index in indices])) * len(dataset))


def _begin(folder: Path, needed: int, of: Mapping[str, Any], plan: DecodedPlan) -> None:
    """Note a new copy, in the place of those of the same images as they were before."""
    taken = 0
    for other, note in _notes(Path(plan.folder)):
        if note["origin"] == of:
            shutil.rmtree(other, ignore_errors=True)
        else:
            taken += int(note["bytes"])
    free = shutil.disk_usage(plan.folder).free
    allowed = FREE_SHARE * (free + taken) if plan.max_gib is None else plan.max_gib * 2**30
    if taken + needed > allowed or needed > free:
        quota = "a tenth of the free disk" if plan.max_gib is None else f"{plan.max_gib:g} GiB"
        # without figures that change from one trial to the next, so that it is said once
        raise NoCopyError(
            f"decoded images of {of['data']['name']}'s {of['split']} split take {size_text(needed)}, and all copies in "
            f"{plan.folder} together must fit in {quota} and on the disk; they are decoded each time; raise max_gib, "
            "remove copies that are not needed, choose another folder, or set decoded_images to off"
        )
    folder.mkdir(exist_ok=True)
    writing = folder / f"{NOTE}{WRITING}"
    writing.write_text(json.dumps({"origin": of, "bytes": needed}))
    writing.replace(folder / NOTE)


def _notes(place: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every copy with its note; a note that cannot be read is of no copy."""
    for note in place.glob(f"*/{NOTE}"):
        with suppress(OSError, ValueError, KeyError):
            found = json.loads(note.read_text())
            yield note.parent, {"origin": found["origin"], "bytes": found["bytes"]}


def _remove_abandoned(folder: Path) -> None:
    """What writers left that were killed."""
    for path in folder.glob(f"*{WRITING}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with (place / LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def size_text(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"

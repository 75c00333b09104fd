"""A dataset's fingerprint: a checksum of every image, label and list, by which a change between two starts is seen.

Contents decide. Sizes and times only spare reading a file again on a machine that has read it before, and stay on that
machine: copies of a dataset on other machines may have other times. A dataset that is drawn, or is in no files that it
names, has no fingerprint.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainers.data import SegmentationDataset, Split
from trainers.registry import module_of
from trainers.resources.faults import MachineFaultError

Fingerprint = Mapping[str, str]
"""BLAKE2b checksums by file, named by its path below the folder that holds them all."""

NOTE = "dataset.json"
"""Name of a note: in a study's folder, the fingerprint that every machine's dataset must have."""
AT_ONCE = 64
"""Files that a thread takes at once: to hand over one that is known takes longer than to look at it."""
SETTLED_NS = 2_000_000_000
"""A file that was changed so short a time ago may change again without another time."""


def fingerprint(data: Any, splits: Iterable[Split]) -> Fingerprint:
    """Of the files of these splits of a dataset's configuration; empty where it names none.

    Raises:
        ValueError: the dataset is not there, or a file of it cannot be read.
    """
    return checksums(path for split in splits for path in _files(data, split))


def checksums(of: Iterable[Path]) -> Fingerprint:
    """Of these files, named by their absolute paths.

    Raises:
        ValueError: one cannot be read.
    """
    files = sorted(set(of), key=os.fspath)
    if not files:
        return {}
    root = Path(os.path.commonpath([file.parent for file in files]))
    known = _Known(root)
    parts = [files[start : start + AT_ONCE] for start in range(0, len(files), AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count()) as readers:  # reading and hashing leave Python's lock
        sums = [found for part in readers.map(known.checksums, parts) for found in part]
    known.keep()
    return {file.relative_to(root).as_posix(): found for file, found in zip(files, sums, strict=True)}


def _files(data: Any, split: Split) -> Iterable[Path]:
    return files_of(module_of(data).Dataset(data, split))


def files_of(dataset: SegmentationDataset) -> list[Path]:
    """Absolute paths of all files that decide what a split holds; none of one that is drawn."""
    return [file.absolute() for file in getattr(dataset, "files", ())]


def is_known(dataset: SegmentationDataset) -> bool:
    """Whether something tells of a change of a split's images: it names its files, or says that it is drawn."""
    return bool(files_of(dataset)) or bool(getattr(dataset, "drawn", False))


def digest(found: Fingerprint) -> str:
    """One checksum of a whole fingerprint."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def difference(kept: Fingerprint, found: Fingerprint) -> str | None:
    """Which files differ, the first by its name; None where none does."""
    changed = sorted(name for name in kept.keys() & found.keys() if kept[name] != found[name])
    kinds = {"has changed": changed, "is gone": sorted(kept.keys() - found), "is new": sorted(found.keys() - kept)}
    differing = [f"{name} {what}" for what, names in kinds.items() for name in names]
    if not differing:
        return None
    more = f", and {len(differing) - 1} more files differ" if len(differing) > 1 else ""
    return differing[0] + more


def write_note(path: Path, splits: Collection[Split], found: Fingerprint) -> None:
    """Note a fingerprint for workers; every note differs, so that each makes every machine look once more."""
    writing = path.with_name(f"{path.name}.writing")
    writing.write_text(json.dumps({"noted_ns": time.time_ns(), "splits": list(splits), "files": found}))
    writing.replace(path)


def read_note(path: Path) -> Fingerprint:
    """The fingerprint in a note; empty where there is none, or it cannot be read."""
    try:
        return {str(name): str(found) for name, found in json.loads(path.read_text())["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


class ChangedDatasetError(MachineFaultError):
    """A machine's dataset is not the one that the study began with."""


def refuse_changed(data: Any, note: Path) -> None:
    """Hold the dataset as this machine has it against a note, once for each note.

    Raises:
        ValueError: a file differs, or cannot be read.
    """
    try:
        content = note.read_bytes()
    except FileNotFoundError:  # of a dataset without files
        return
    looked = None if (place := _own_folder()) is None else place / f"looked-{hashlib.sha256(content).hexdigest()[:32]}"
    if looked is not None and looked.exists():
        return
    noted = json.loads(content)
    if differs := difference(noted["files"], fingerprint(data, noted["splits"])):
        raise ChangedDatasetError(
            f"every machine must have the dataset that the study began with, but on {os.uname().nodename} {differs}; "
            "copy it there again"
        )
    if looked is not None:
        looked.touch()


class _Known:
    """The checksums that this machine knows of the files below a folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        place = _own_folder()
        name = hashlib.sha256(str(root).encode()).hexdigest()[:32]
        self._kept = None if place is None else place / f"checksums-{name}.json"
        self._before: Mapping[str, Any] = {}
        self._now: dict[str, Any] = {}
        self._asked: set[str] = set()
        if self._kept is not None:
            with suppress(OSError, ValueError):
                self._before = json.loads(self._kept.read_text())

    def checksums(self, files: Iterable[Path]) -> list[str]:
        return [self.checksum(file) for file in files]

    def checksum(self, file: Path) -> str:
        """From the content, or as it was known where nothing tells of a change."""
        self._asked.add(str(file))
        try:
            state = file.stat()
            seen = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
            known = self._before.get(str(file))
            if known and known[1:] == seen:
                found = str(known[0])
            else:
                with file.open("rb") as content:
                    found = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise ValueError(f"{file} must be a readable file, but is not: {error.strerror}; restore it") from None
        if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS:
            self._now[str(file)] = [found, *seen]
        return found

    def keep(self) -> None:
        """For the next time on this machine."""
        # other splits may lie below the same folder
        known = {name: state for name, state in self._before.items() if name not in self._asked} | self._now
        if self._kept is None or known == self._before:
            return
        with suppress(OSError), tempfile.NamedTemporaryFile("w", dir=self._kept.parent, delete=False) as file:
            json.dump(known, file)
            Path(file.name).replace(self._kept)


def _own_folder() -> Path | None:
    """A folder of this user's on this machine alone; None where nobody else may be kept out of it."""
    place = Path(tempfile.gettempdir()) / f"kdstudy-{os.getuid()}"
    with suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
        state = place.lstat()
        if place.is_dir() and not place.is_symlink() and state.st_uid == os.getuid() and not state.st_mode & 0o022:
            return place
    return None

"""Checkpoints in a store that pyarrow.fs knows by a URL, such as s3://bucket/prefix.

A store has no rename, so a checkpoint counts once its manifest is there, which is written last and removed first. What
has none was never written to its end; it is ignored, and removed by the next attempt. Files go there from memory
and come back as a copy in a temporary folder. Credentials are pyarrow's business: it reads them from the environment.
"""

import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from pyarrow import ArrowInvalid, fs

from trainers.addresses import joined, redacted
from trainers.checkpoints.base import ALL, KEEP, Checkpoints, DamagedError, interim_name_of, name_of
from trainers.checkpoints.manifest import MANIFEST, fault, manifest
from trainers.resources.faults import MachineFaultError

T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
"""Of the URLs that pyarrow.fs knows, without those of this machine."""

WAITS_S = (1.0, 4.0, 16.0)
"""Between tries of one request; each try of S3 already is three by the library below."""

CHECKPOINT = re.compile(r"((?:checkpoint|interim)_[0-9]+)/(.+)")
SECRET = re.compile(r"secret|password|token|access_?key|signature|^sig$", re.IGNORECASE)
"""Names of a URL's parameters that no configuration may have."""


class UnreachableError(MachineFaultError):
    """A store did not do what it was asked to, again and again; the message names the URL."""


def refuse_url(url: str) -> None:
    """Hold a URL against what checkpoints need; nothing is asked of the store.

    Raises:
        ValueError: it holds credentials, or is of no kind that stores files elsewhere.
    """
    parts = urlsplit(url)
    if parts.password is not None or any(SECRET.search(name) for name in parse_qs(parts.query, True)):
        raise ValueError(
            f"a URL must hold no credentials, but one of {parts.scheme}:// does; leave them out, and set them in the "
            "environment of every node, for s3 as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(
            f"checkpoints must lie in a folder or at a URL of {', '.join(SCHEMES)}, but got {redacted(url)}; write the "
            "path of a folder, or for example s3://bucket/prefix"
        )


class Store:
    """Files by name below a URL; what fails is tried again, with growing waits.

    Raises:
        ValueError: `url` is none for a store.
    """

    def __init__(self, url: str, waits_s: tuple[float, ...] | None = None) -> None:
        refuse_url(url)
        self.url = redacted(url)
        self._waits_s = WAITS_S if waits_s is None else waits_s
        self._files: fs.FileSystem = self._tried("opened", "", lambda: _below(url))

    def put(self, name: str, content: bytes) -> None:
        def write() -> None:
            with self._files.open_output_stream(name) as stream:
                stream.write(content)

        self._tried("written", name, write)

    def get(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""

        def read() -> bytes | None:
            try:
                with self._files.open_input_file(name) as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
            return content

        return self._tried("read", name, read)

    def names(self) -> list[str]:
        """Of all files, sorted."""
        everything = fs.FileSelector("", recursive=True, allow_not_found=True)
        found = self._tried("listed", "", lambda: self._files.get_file_info(everything))
        return sorted(entry.path for entry in found if entry.type == fs.FileType.File)

    def move(self, name: str, to: str) -> None:
        self._tried("moved", name, lambda: self._files.move(name, to))

    def remove(self, name: str) -> None:
        """Remove a file, or all files below a name."""

        def delete() -> None:
            with suppress(FileNotFoundError):
                if self._files.get_file_info(name).type == fs.FileType.File:
                    self._files.delete_file(name)
                else:
                    self._files.delete_dir(name)

        self._tried("removed", name, delete)

    def _tried(self, done: str, name: str, request: Callable[[], T]) -> T:
        for wait in self._waits_s:
            try:
                return request()
            except OSError:
                time.sleep(wait)
        try:
            return request()
        except OSError as error:
            where = joined(self.url, name) if name else self.url
            tries, message = len(self._waits_s) + 1, str(error).splitlines()[0]
            raise UnreachableError(
                f"checkpoints must be {done} at {where}, but the last of {tries} tries failed: {message}; "
                "see that this node reaches the store and may write there, then run it again"
            ) from None


def _below(url: str) -> fs.FileSystem:
    try:
        files, path = fs.FileSystem.from_uri(url)
    except ArrowInvalid as error:
        raise ValueError(
            f"checkpoints must lie at a URL that pyarrow.fs can open, but {redacted(url)} is none: {error}; mend it"
        ) from None
    return fs.SubTreeFileSystem(path, files)


class StoredCheckpoints(Checkpoints):
    """Checkpoints below a URL."""

    def __init__(self, place: str | Path, keep: int = KEEP) -> None:
        super().__init__(place, keep)
        self._store = Store(self.place)
        self._unreported: str | None = None
        self._outdated_interims: list[str] = []

    def names(self) -> list[str]:
        return [name for name in self._written() if name.startswith("checkpoint")]

    def interim_names(self) -> list[str]:
        return [name for name in self._written() if name.startswith("interim")]

    def _written(self) -> list[str]:
        """Names of the checkpoints of either kind that were written to their end."""
        return [name for name, files in self._found().items() if MANIFEST in files]

    def _found(self) -> dict[str, set[str]]:
        """The files of what may be a checkpoint, by name, oldest first."""
        found: dict[str, set[str]] = {}
        for path in self._store.names():
            if match := CHECKPOINT.fullmatch(path):
                found.setdefault(match[1], set()).add(match[2])
        return found

    def write(self, files: Mapping[str, bytes], *, iteration: int, best: int) -> None:
        name, there = name_of(iteration), self.names()
        self._put(name, files, replaces=name in there)
        self._unreported, self._outdated_interims = name, self.interim_names()
        for old in self._outdated(sorted({*there, name}), best):
            self._remove(old)

    def write_interim(self, files: Mapping[str, bytes], *, iteration: int) -> None:
        name, there = interim_name_of(iteration), self.interim_names()
        self._put(name, files, replaces=name in there)
        for old in there:
            if old != name:
                self._remove(old)

    def _put(self, name: str, files: Mapping[str, bytes], *, replaces: bool) -> None:
        if replaces:  # one of an earlier attempt that came this far
            self._remove(name)
        for file, content in {**files, MANIFEST: manifest(files)}.items():
            self._store.put(f"{name}/{file}", content)

    def add(self, *, iteration: int, best: int) -> None:
        self._unreported = None
        for old in self._outdated_interims:
            self._remove(old)

    def drop(self) -> None:
        if self._unreported:
            with suppress(UnreachableError):  # whatever ended the training is the news
                self._remove(self._unreported)
        self._unreported = None

    @contextmanager
    def open(self, name: str, files: Collection[str] = ALL) -> Iterator[Path]:
        url = joined(self._store.url, name)
        with tempfile.TemporaryDirectory(prefix="kdstudy-") as scratch:
            folder = Path(scratch, name)
            folder.mkdir()
            for file in (MANIFEST, *files):
                content = self._store.get(f"{name}/{file}")
                if content is not None:
                    (folder / file).write_bytes(content)
                elif file == MANIFEST:
                    raise DamagedError(f"{url} has no {MANIFEST}: it is no checkpoint, or not written to its end")
            if wrong := fault(folder, files):
                raise DamagedError(wrong.replace(str(folder), url))
            yield folder

    def _remove(self, name: str) -> None:
        self._store.remove(f"{name}/{MANIFEST}")
        self._store.remove(name)

    def _clear_up(self) -> None:
        for name, files in self._found().items():
            if MANIFEST not in files:
                self._store.remove(name)

    def _set_aside(self, name: str) -> None:
        for file in sorted(self._found()[name], key=MANIFEST.__ne__):
            self._store.move(f"{name}/{file}", f"damaged_{name}/{file}")


def is_free(url: str) -> bool:
    """Whether there are no files below a URL; tries to write one there.

    Raises:
        ValueError: the store does not answer, or does not let files be written.
    """
    store = Store(url, waits_s=())  # who waits for this has just typed it
    if store.names():
        return False
    store.put("probe", b"")
    store.remove("probe")
    return True

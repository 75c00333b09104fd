"""The content of a chunk's file: a header, then one record per iteration with the bytes of every tap and a checksum.

The header is JSON in a block of HEADER bytes: type, shape and strides of every tap, and how long the teacher took. All
records have one size, so that each is found without the others and read without those taps that a trial does not need.
Checksums are CRC-32, against what disks and copies do. Nothing waits for the disk: what a machine that loses its power
leaves half written does not match its checksums.
"""

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from trainers.teachers.recordings import files
from trainers.teachers.recordings.files import Chunk
from trainers.teachers.recordings.layout import Layout, as_bytes

MAGIC = b"kdstudy teacher 1\n"
HEADER = 4096
CHECKSUM = 4
"""Bytes of a checksum."""


class DamagedError(ValueError):
    """A chunk's file is not as it was written."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands before the records of a chunk.

    Attributes:
        layouts: of the taps by name, in the order of a record.
        live_seconds: mean time that the teacher took for an iteration; 0 where that is not known.
    """

    layouts: Mapping[str, Layout]
    live_seconds: float = 0.0

    @property
    def offsets(self) -> dict[str, int]:
        """Where each tap begins in a record."""
        sizes = [layout.bytes + CHECKSUM for layout in self.layouts.values()]
        return dict(zip(self.layouts, accumulate(sizes, initial=0), strict=False))

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return sum(layout.bytes + CHECKSUM for layout in self.layouts.values())

    def size(self, iterations: int) -> int:
        """Bytes of a file with so many records."""
        return HEADER + iterations * self.record

    def block(self) -> bytes:
        """The header as it stands in a file."""
        taps = {name: asdict(layout) for name, layout in self.layouts.items()}
        text = json.dumps({"taps": taps, "live_seconds": self.live_seconds}).encode()
        padded = text.ljust(HEADER - len(MAGIC) - CHECKSUM)
        return MAGIC + _checksum(padded) + padded

    @classmethod
    def read(cls, block: bytes) -> Self:
        """From the first HEADER bytes of a file.

        Raises:
            DamagedError: they are no header.
        """
        text = block[len(MAGIC) + CHECKSUM :]
        if not block.startswith(MAGIC) or _checksum(text) != block[len(MAGIC) : len(MAGIC) + CHECKSUM]:
            raise DamagedError("its header does not match its checksum")
        values = json.loads(text)
        layouts = {str(name): Layout.read(layout) for name, layout in values["taps"].items()}
        return cls(layouts=layouts, live_seconds=float(values["live_seconds"]))


def _checksum(content: bytes | memoryview, iteration: int = 0) -> bytes:
    """Of the content and the iteration that it is of."""
    return zlib.crc32(content, zlib.crc32(iteration.to_bytes(8, "little"))).to_bytes(CHECKSUM, "little")


class ChunkWriter:
    """A chunk that is being written; nobody else writes these taps of these iterations meanwhile.

    Args:
        folder: of the rank.
        start: first iteration.
        stop: one more than the last iteration, as planned.
        header: of the records.

    Raises:
        FileExistsError: another writer has it.
        OSError: it cannot be written there.
    """

    def __init__(self, folder: Path, *, start: int, stop: int, header: Header) -> None:
        self._folder, self._start, self._header = folder, start, header
        self.path = files.path_of(folder, start, stop, header.layouts, files.WRITING)
        self._file = self._opened()
        try:
            os.truncate(self._file, header.size(stop - start))  # the space counts as taken
        except OSError:
            self.discard()
            raise

    def _opened(self) -> int:
        """Make the file and lock it; one whose writer has died makes way."""
        with suppress(FileExistsError):
            return self._made()
        files.remove_abandoned(self.path)
        return self._made()

    def _made(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            if files.lock(descriptor) and files.is_at(descriptor, self.path):
                return descriptor
        except OSError:
            self.path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)
        raise FileExistsError(self.path)  # another has taken it for a dead writer's

    def write(self, iteration: int, taps: Mapping[str, Tensor]) -> None:
        """Write the packed values of an iteration, which follows the one before.

        Raises:
            OSError: the disk does not take it.
        """
        at = self._header.size(iteration - self._start)
        for name in self._header.layouts:
            content = as_bytes(taps[name])
            for part in (content, memoryview(_checksum(content, iteration))):
                at += _write(self._file, part, at)

    def finish(self, stop: int, live_seconds: float) -> None:
        """Name the chunk by what it has come to cover: up to `stop`.

        Raises:
            OSError: the disk does not take it, or the folder has been removed.
        """
        header = Header(layouts=self._header.layouts, live_seconds=live_seconds)
        _write(self._file, memoryview(header.block()), 0)
        os.truncate(self._file, header.size(stop - self._start))
        self.path.rename(files.path_of(self._folder, self._start, stop, header.layouts, files.WHOLE))
        os.close(self._file)

    def discard(self) -> None:
        """Leave nothing of it."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def _write(descriptor: int, content: memoryview, at: int) -> int:
    """All of the content; the number of its bytes."""
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], at + done)
    return done


class ChunkReader:
    """An open chunk.

    Args:
        chunk: as its name describes it.
        pinned: whether the tensors that it gives are in pinned memory.

    Raises:
        DamagedError: the file is not as it was written.
        OSError: it cannot be read.
    """

    def __init__(self, chunk: Chunk, *, pinned: bool = False) -> None:
        self.chunk, self._pinned = chunk, pinned
        self._file = os.open(chunk.path, os.O_RDONLY)
        try:
            self.header = self._checked()
        except BaseException:
            self.close()
            raise

    def _checked(self) -> Header:
        try:
            header = Header.read(os.pread(self._file, HEADER, 0))
            expected = header.size(self.chunk.stop - self.chunk.start)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"its header cannot be read: {error}") from None
        if (found := os.fstat(self._file).st_size) != expected or tuple(sorted(header.layouts)) != self.chunk.taps:
            raise DamagedError(f"it must have {expected} bytes and the taps of its name, but has {found}")
        return header

    def read(self, iteration: int, tap: str) -> Tensor:
        """The packed values of a tap, [elements], on the CPU.

        Raises:
            DamagedError: they do not match their checksum.
            OSError: they cannot be read.
        """
        layout = self.header.layouts[tap]
        at = self.header.size(iteration - self.chunk.start) + self.header.offsets[tap]
        values = torch.empty(layout.elements, dtype=layout.type, pin_memory=self._pinned)
        content = as_bytes(values)
        _read(self._file, content, at)
        if os.pread(self._file, CHECKSUM, at + len(content)) != _checksum(content, iteration):
            raise DamagedError(f"{tap} at iteration {iteration} does not match its checksum")
        return values

    def close(self) -> None:
        os.close(self._file)


def _read(descriptor: int, content: memoryview, at: int) -> None:
    """Fill the content from a place in a file."""
    done = 0
    while done < len(content):
        if not (read := os.preadv(descriptor, [content[done:]], at + done)):
            raise DamagedError("it is cut short")
        done += read

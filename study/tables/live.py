"""Live files: Arrow IPC streams whose messages carry checksums, so that whole batches are found again after a bad one.

Behind the metadata of each message stands a seal: a mark, the length of what it seals, and a checksum of all of it.
Other readers of Arrow take it for padding of the metadata. The header, without which no batch can be read, stands there
twice, its copy in the padding of the first. Streams of an older kdstudy have no seals: of them the batches before the
first unreadable one count. How live files make a table is not known here.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

_MARK = b"kdSealA1"
_SEAL = struct.Struct("<8sIIQ")
"""The mark; bytes from the message's start to here; CRC-32 of the message; bytes of the message. Little-endian."""
_PREFIX = struct.Struct("<4si")
"""What an IPC message begins with: a continuation mark, and the length of its metadata."""


class Live(NamedTuple):
    """What could be read of a live file.

    Attributes:
        table: the rows of all whole batches.
        lost: bytes that belong to no whole message.
    """

    table: pa.Table
    lost: int


class _Message(NamedTuple):
    """A whole message within a file: where it lies, and the message as Arrow wrote it."""

    start: int
    end: int
    content: bytes


def sealed(message: pa.Buffer) -> bytes:
    """A message with its seal."""
    return _sealed(message.to_pybytes())


def header(schema: pa.Schema) -> bytes:
    """What a live file begins with."""
    message = schema.serialize().to_pybytes()
    return _sealed(message, padding=_sealed(message))


def _sealed(message: bytes, padding: bytes = b"") -> bytes:
    """The message with its seal and further padding; the checksum is of everything but itself and that padding."""
    continuation, size = _PREFIX.unpack_from(message)
    metadata, body = message[_PREFIX.size : _PREFIX.size + size], message[_PREFIX.size + size :]
    whole = len(message) + _SEAL.size
    head = _PREFIX.pack(continuation, size + _SEAL.size + len(padding)) + metadata
    seal = _SEAL.pack(_MARK, len(head), 0, whole)
    checksum = zlib.crc32(body, zlib.crc32(head + seal))
    return head + _SEAL.pack(_MARK, len(head), checksum, whole) + padding + body


def _whole_messages(content: bytes) -> Iterator[_Message]:
    """Every message whose seal is right, in order; what lies between them is damaged."""
    place = 0
    for match in re.finditer(re.escape(_MARK), content):
        if match.start() + _SEAL.size > len(content):
            return
        mark, before, checksum, size = _SEAL.unpack_from(content, match.start())
        start, end = match.start() - before, match.start() - before + size
        # the mark may stand in the middle of some text
        if start < place or end > len(content) or size < before + _SEAL.size or before < _PREFIX.size:
            continue
        head, body = content[start : match.start()], content[match.start() + _SEAL.size : end]
        if zlib.crc32(body, zlib.crc32(head + _SEAL.pack(mark, before, 0, size))) != checksum:
            continue
        place = end
        yield _Message(start, end, _PREFIX.pack(head[:4], before - _PREFIX.size) + head[_PREFIX.size :] + body)


def read_schema(path: Path) -> pa.Schema:
    """The columns of a live file.

    Raises:
        OSError: its header is damaged.
        pa.ArrowException: likewise.
    """
    content = path.read_bytes()
    if _MARK not in content:
        return pa.ipc.open_stream(pa.py_buffer(content)).schema
    return _schema_of(path, next(_whole_messages(content), None))


def _schema_of(path: Path, first: _Message | None) -> pa.Schema:
    if first is None or pa.ipc.read_message(first.content).type != "schema":
        raise OSError(f"neither of the two headers of {path.name} is what was written")
    return pa.ipc.read_schema(pa.py_buffer(first.content))


def read_live(path: Path) -> Live:
    """All whole batches of a live file.

    Raises:
        OSError: its header is damaged.
        pa.ArrowException: likewise.
    """
    content = path.read_bytes()
    if _MARK not in content:
        return _read_unsealed(content)
    messages = list(_whole_messages(content))
    schema = _schema_of(path, next(iter(messages), None))
    found = (pa.ipc.read_message(message.content) for message in messages)
    batches = [pa.ipc.read_record_batch(message, schema) for message in found if message.type == "record batch"]
    lost = len(content) - sum(message.end - message.start for message in messages)
    return Live(pa.Table.from_batches(batches, schema), lost)


def _read_unsealed(content: bytes) -> Live:
    stream = pa.BufferReader(content)
    reader = pa.ipc.open_stream(stream)
    batches, whole, broken = [], stream.tell(), 0
    try:
        for batch in reader:
            if _is_sound(batch):
                batches.append(batch)
            else:
                broken += stream.tell() - whole
            whole = stream.tell()
    except (pa.ArrowException, OSError):
        pass  # counted below, as is a tail of zeros, which reads as the end of a stream
    return Live(pa.Table.from_batches(batches, reader.schema), broken + stream.size() - whole)


def _is_sound(batch: pa.RecordBatch) -> bool:
    """Whether a batch can be read to its last value, and none of its texts is cut."""
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        return False
    return True

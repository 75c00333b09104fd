import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trainers.models import Taps
from trainers.teachers.recordings import files
from trainers.teachers.recordings.chunks import HEADER, ChunkReader, ChunkWriter, DamagedError, Header
from trainers.teachers.recordings.files import Chunk
from trainers.teachers.recordings.layout import Layout


def taps(iteration: int) -> Taps:
    generator = torch.Generator().manual_seed(iteration)
    return {
        "features": torch.randn(2, 4, 3, 5, generator=generator).contiguous(memory_format=torch.channels_last),
        "logits": torch.randn(2, 3, 3, 5, generator=generator).half(),
    }


HEADER_OF_TAPS = Header(layouts={name: Layout.of(tap) for name, tap in taps(0).items()})


def packed(iteration: int) -> dict[str, Tensor]:
    return {name: HEADER_OF_TAPS.layouts[name].packed(tap) for name, tap in taps(iteration).items()}


def written(folder: Path, start: int = 5, stop: int = 9) -> Chunk:
    """A chunk of these iterations, planned for twice as many."""
    writer = ChunkWriter(folder, start=start, stop=2 * stop - start, header=HEADER_OF_TAPS)
    for iteration in range(start, stop):
        writer.write(iteration, packed(iteration))
    writer.finish(stop, live_seconds=0.25)
    (path,) = files.paths(folder)
    found = Chunk.of(path)
    assert found is not None
    return found


def read_all(chunk: Chunk, iteration: int) -> None:
    reader = ChunkReader(chunk)
    try:
        for name in chunk.taps:
            reader.read(iteration, name)
    finally:
        reader.close()


def test_every_tap_of_every_iteration_comes_back_alone(tmp_path: Path) -> None:
    chunk = written(tmp_path)
    assert (chunk.start, chunk.stop, chunk.taps) == (5, 9, ("features", "logits"))
    assert chunk.path.name == "000000005-000000009.features+logits.chunk"
    reader = ChunkReader(chunk)
    assert reader.header.live_seconds == 0.25
    for iteration in (8, 5, 7):
        for name, tap in taps(iteration).items():
            found = reader.header.layouts[name].unpacked(reader.read(iteration, name))
            assert torch.equal(found, tap) and found.stride() == tap.stride() and found.dtype == tap.dtype
    reader.close()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    chunk = written(tmp_path, 5, 6)
    content = chunk.path.read_bytes()
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        chunk.path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            read_all(chunk, 5)


@pytest.mark.parametrize("length", [0, 10, HEADER, -1, -500])
def test_a_chunk_that_is_cut_short_is_damaged(tmp_path: Path, length: int) -> None:
    chunk = written(tmp_path)
    chunk.path.write_bytes(chunk.path.read_bytes()[:length])
    with pytest.raises(DamagedError):
        ChunkReader(chunk)


def test_a_chunk_under_the_name_of_other_iterations_is_damaged(tmp_path: Path) -> None:
    chunk = written(tmp_path)
    renamed = chunk.path.rename(files.path_of(tmp_path, 6, 10, chunk.taps, files.WHOLE))
    moved = Chunk.of(renamed)
    assert moved is not None
    with pytest.raises(DamagedError, match="logits at iteration 7 does not match its checksum"):
        ChunkReader(moved).read(7, "logits")


@pytest.mark.parametrize("name", ["000000005-000000009.logits.writing", "x.chunk", "5-5.logits.chunk", "key.json"])
def test_other_files_are_no_chunks(tmp_path: Path, name: str) -> None:
    assert Chunk.of(tmp_path / name) is None


def test_a_chunk_has_one_writer(tmp_path: Path) -> None:
    first = ChunkWriter(tmp_path, start=0, stop=4, header=HEADER_OF_TAPS)
    with pytest.raises(FileExistsError):
        ChunkWriter(tmp_path, start=0, stop=4, header=HEADER_OF_TAPS)
    assert not files.is_abandoned(first.path)
    first.write(0, packed(0))
    first.finish(1, 0.0)
    (path,) = files.paths(tmp_path)
    assert path.name == "000000000-000000001.features+logits.chunk"


def test_what_is_being_written_counts_as_what_it_is_to_become(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path, start=0, stop=4, header=HEADER_OF_TAPS)
    assert files.size(tmp_path) == HEADER_OF_TAPS.size(4)
    writer.write(0, packed(0))
    writer.finish(1, 0.0)
    assert files.size(tmp_path) == HEADER_OF_TAPS.size(1)
    ChunkWriter(tmp_path, start=1, stop=2, header=HEADER_OF_TAPS).discard()
    assert files.size(tmp_path) == HEADER_OF_TAPS.size(1)


def die_writing(folder: Path) -> None:
    writer = ChunkWriter(folder, start=0, stop=4, header=HEADER_OF_TAPS)
    writer.write(0, packed(0))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_writers_chunk_is_taken_over(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = files.paths(tmp_path)
    assert files.is_abandoned(left) and Chunk.being_written(left) is not None
    writer = ChunkWriter(tmp_path, start=0, stop=4, header=HEADER_OF_TAPS)
    assert not files.is_abandoned(left)
    writer.discard()
    assert files.paths(tmp_path) == []


def test_a_writer_gives_up_where_its_new_file_was_taken_for_a_dead_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, looked = files.lock, []

    def another_first(descriptor: int) -> bool:
        if not looked:
            looked.append(True)
            (path,) = files.paths(tmp_path)
            assert files.remove_abandoned(path)  # between the making of the file and its lock
        return lock(descriptor)

    monkeypatch.setattr(files, "lock", another_first)
    ChunkWriter(tmp_path, start=0, stop=4, header=HEADER_OF_TAPS).discard()
    assert looked and files.paths(tmp_path) == []

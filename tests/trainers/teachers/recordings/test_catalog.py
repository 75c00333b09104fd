import os
from pathlib import Path

from tests.trainers.teachers.recordings.test_chunks import HEADER_OF_TAPS, packed
from trainers.teachers.recordings import files
from trainers.teachers.recordings.catalog import catalog, remove
from trainers.teachers.recordings.chunks import ChunkWriter

A, B = "a" * 32, "b" * 32
"""Names of recordings' folders."""


def rank(folder: Path, number: int, *chunks: tuple[int, int]) -> Path:
    """The folder of a rank with these chunks."""
    made = files.rank_folder(folder, number)
    made.mkdir(parents=True)
    (folder / files.KEY).write_text('{"data_seed": 3}')
    for start, stop in chunks:
        writer = ChunkWriter(made, start=start, stop=stop, header=HEADER_OF_TAPS)
        for iteration in range(start, stop):
            writer.write(iteration, packed(iteration))
        writer.finish(stop, 0.1)
    return made


def test_it_says_what_is_there(tmp_path: Path) -> None:
    first = rank(tmp_path / A, 0, (0, 4), (2, 6))
    rank(tmp_path / A, 1, (1, 5))
    (first / "000000006-000000008.logits.damaged").touch()
    (first / "000000008-000000009.logits.writing").touch()
    writer = ChunkWriter(first, start=9, stop=12, header=HEADER_OF_TAPS)
    rank(tmp_path / B, 0)
    os.utime(tmp_path / B / files.KEY, (10, 10))
    newer, older = catalog(tmp_path)
    assert (newer.folder, newer.key, newer.chunks) == (tmp_path / A, {"data_seed": 3}, 3)
    assert newer.iterations == {"features": 4, "logits": 4}, "those that all ranks have"
    assert (newer.damaged, newer.unfinished, newer.writing) == (1, 1, 1)
    assert newer.bytes == sum(path.stat().st_size for path in (tmp_path / A).rglob("*") if path.is_file())
    assert (older.chunks, older.iterations, older.last_used) == (0, {}, 10)
    writer.discard()


def test_what_is_removed_is_gone_and_nothing_else(tmp_path: Path) -> None:
    for name in (A, B):
        rank(tmp_path / name, 0, (0, 2))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / files.KEY).touch()
    for entry in catalog(tmp_path):
        if entry.folder.name == A:
            remove(entry)
    assert [entry.folder.name for entry in catalog(tmp_path)] == [B]
    assert (tmp_path / "other").is_dir()


def test_iterations_count_that_all_ranks_of_the_key_have(tmp_path: Path) -> None:
    rank(tmp_path / A, 0, (0, 4))
    (tmp_path / A / files.KEY).write_text('{"ranks": 2}')
    (entry,) = catalog(tmp_path)
    assert entry.iterations == {"features": 0, "logits": 0}


def test_what_another_has_removed_is_gone_already(tmp_path: Path) -> None:
    rank(tmp_path / A, 0, (0, 2))
    (entry,) = catalog(tmp_path)
    for _ in range(2):
        remove(entry)
    assert list(tmp_path.iterdir()) == []


def test_a_removal_that_was_cut_short_can_be_ended(tmp_path: Path) -> None:
    rank(tmp_path / f"{A}.0123abcd.removed", 0, (0, 2))
    (entry,) = catalog(tmp_path)
    remove(entry)
    assert list(tmp_path.iterdir()) == []


def test_no_folder_holds_no_recordings(tmp_path: Path) -> None:
    assert catalog(tmp_path / "none") == []


def test_a_key_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    rank(tmp_path / A, 0, (0, 2))
    (tmp_path / A / files.KEY).write_text("{")
    (entry,) = catalog(tmp_path)
    assert entry.key == {} and entry.chunks == 1

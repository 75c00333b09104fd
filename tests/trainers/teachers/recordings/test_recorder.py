import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainers.models import Taps
from trainers.teachers.recordings import files, writing
from trainers.teachers.recordings.chunks import HEADER, ChunkReader
from trainers.teachers.recordings.files import Chunk
from trainers.teachers.recordings.plan import RecordingPlan, latest
from trainers.teachers.recordings.spans import Span
from trainers.teachers.recordings.writing import Recorder

RECORD = 2 * 3 * 4 * 5 * 4 + 4
"""Bytes of the record of one tap, with its checksum."""


def taps(*names: str) -> Taps:
    return {name: torch.ones(2, 3, 4, 5) for name in names}


def span() -> Span:
    with Span(torch.device("cpu")) as done:
        pass
    return done


class Recording:
    """Recorders of one rank's folder, one after the other or at once."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.folder = folder / ("0" * 32) / "rank0"
        self.folder.mkdir(parents=True)
        (self.folder.parent / files.KEY).touch()
        (folder / "of others").write_bytes(bytes(10**6))
        self._recorders: list[Recorder] = []

    def recorder(self, taps: dict[str, int] | None = None, max_bytes: int = 10**6) -> Recorder:
        plan = RecordingPlan(folder=str(self.root), taps={"logits": 20} if taps is None else taps, max_bytes=max_bytes)
        made = Recorder(plan, self.folder, lambda iteration: min((iteration // 4 + 1) * 4, 10))
        self._recorders.append(made)
        return made

    def close(self) -> None:
        for recorder in self._recorders:
            recorder.close()

    def chunks(self) -> list[str]:
        return sorted(path.name for path in files.paths(self.folder))


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path)
    yield made
    made.close()


def run(recorder: Recorder, iterations: range) -> list[set[str]]:
    """Compute these iterations; the taps that were wanted at each."""
    found = []
    for iteration in iterations:
        wanted = recorder.wanted(iteration)
        found.append(set(wanted))
        recorder.add(iteration, taps(*wanted), span())
    return found


def test_chunks_end_at_evaluations_and_at_the_end(recording: Recording) -> None:
    recorder = recording.recorder()
    assert run(recorder, range(10)) == [{"logits"}] * 10
    recorder.close()
    assert recording.chunks() == [f"{a:09d}-{b:09d}.logits.chunk" for a, b in ((0, 4), (4, 8), (8, 10))]


def test_a_chunk_ends_where_the_taps_change_and_where_it_is_interrupted(recording: Recording) -> None:
    recorder = recording.recorder({"logits": 20, "aux": 2})
    assert run(recorder, range(3)) == [{"logits", "aux"}] * 2 + [{"logits"}]
    run(recorder, range(6, 7))
    recorder.close()
    assert recording.chunks() == [
        "000000000-000000002.aux+logits.chunk", "000000002-000000003.logits.chunk", "000000006-000000007.logits.chunk",
    ]  # fmt: skip


def test_what_is_recorded_is_not_recorded_again(recording: Recording) -> None:
    first = recording.recorder()
    run(first, range(2, 4))
    first.close()
    second = recording.recorder()
    assert run(second, range(2)) == [{"logits"}] * 2
    second.end()
    assert run(second, range(2, 6)) == [set()] * 2 + [{"logits"}] * 2
    second.close()
    assert recording.chunks() == [f"{a:09d}-{b:09d}.logits.chunk" for a, b in ((0, 2), (2, 4), (4, 6))]


def test_what_a_recording_lacks_is_added(recording: Recording) -> None:
    first = recording.recorder()
    run(first, range(8))
    first.close()
    second = recording.recorder({"logits": 20, "features": 20})
    assert run(second, range(8)) == [{"features"}] * 8


def test_of_two_at_once_one_writes(recording: Recording) -> None:
    first, second = recording.recorder(), recording.recorder()
    assert run(first, range(1)) == [{"logits"}]
    assert run(second, range(4)) == [set()] * 4
    assert run(second, range(4, 5)) == [{"logits"}]
    assert run(first, range(1, 6)) == [{"logits"}] * 3 + [set()] * 2
    first.close()
    second.close()
    assert recording.chunks() == ["000000000-000000004.logits.chunk", "000000004-000000005.logits.chunk"]


def test_a_chunk_that_another_begins_at_the_same_moment_is_left_to_it(recording: Recording) -> None:
    first, second = recording.recorder(), recording.recorder()
    assert first.wanted(0) == second.wanted(0) == {"logits"}
    for recorder in (first, second):
        recorder.add(0, taps("logits"), span())
    assert run(second, range(1, 4)) == [set()] * 3
    assert run(first, range(1, 4)) == [{"logits"}] * 3
    assert not second.faults


def test_what_dead_writers_have_left_is_removed(recording: Recording) -> None:
    for name in ("000000001-000000004", "000000002-000000003", "000000008-000000010"):
        (recording.folder / f"{name}.logits.writing").touch()
    run(recording.recorder(), range(2, 3))
    recording.close()
    assert recording.chunks() == ["000000002-000000003.logits.chunk"]


def test_the_quota_is_never_exceeded_and_its_end_is_said_once(recording: Recording) -> None:
    most = 2 * HEADER + 6 * RECORD
    recorder = recording.recorder(max_bytes=most)
    assert run(recorder, range(4)) == [{"logits"}] * 4
    assert run(recorder, range(4, 6)) == [{"logits"}] * 2
    run(recorder, range(6, 10))
    recorder.close()
    assert files.size(recording.folder) == most
    assert recording.chunks() == ["000000000-000000004.logits.chunk", "000000004-000000006.logits.chunk"]
    (said,) = recorder.faults
    assert "must stay within 0.00 GiB" in said and "training goes on" in said


def test_a_quota_that_two_begin_to_use_up_at_once_is_not_exceeded(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recording.recorder({"features": 4}, max_bytes=HEADER + 4 * RECORD)
    planned = recorder._planned_stop

    def another_meanwhile(*arguments: object) -> int:
        stop = planned(*arguments)  # type: ignore[arg-type]
        (recording.folder / "000000000-000000004.logits.chunk").write_bytes(bytes(HEADER))
        return stop

    monkeypatch.setattr(recorder, "_planned_stop", another_meanwhile)
    run(recorder, range(2))
    recorder.close()
    assert recording.chunks() == ["000000000-000000004.logits.chunk"] and not recorder.faults


@pytest.mark.parametrize(("fault", "remedy"), [(errno.ENOSPC, "free some"), (errno.EIO, "see to the folder")])
def test_a_disk_that_takes_no_more_ends_the_recording(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, fault: int, remedy: str
) -> None:
    recorder, write = recording.recorder(), os.pwrite
    failed: list[int] = []

    def full(descriptor: int, content: bytes, at: int) -> int:
        if failed or at > HEADER + RECORD:
            failed.append(at)
            raise OSError(fault, os.strerror(fault))
        return write(descriptor, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    run(recorder, range(10))
    recorder.close()
    assert recording.chunks() == []
    (said,) = recorder.faults
    assert os.strerror(fault) in said and remedy in said
    assert recorder.wanted(8) == frozenset()


def test_a_folder_that_is_removed_ends_the_recording(recording: Recording) -> None:
    recorder = recording.recorder()
    run(recorder, range(2))
    for path in files.paths(recording.folder):
        path.unlink()
    recording.folder.rmdir()
    run(recorder, range(2, 10))
    recorder.close()
    assert len(recorder.faults) == 1


def test_a_slow_disk_ends_a_chunk_instead_of_holding_the_training_up(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WAITING_BYTES", 2 * RECORD)
    recorder, write, goes_on = recording.recorder(), os.pwrite, threading.Event()

    def slow(descriptor: int, content: bytes, at: int) -> int:
        assert goes_on.wait(60)
        return write(descriptor, content, at)

    monkeypatch.setattr(os, "pwrite", slow)
    assert run(recorder, range(4)) == [{"logits"}] * 3 + [set()]
    goes_on.set()
    recorder.close()
    assert recording.chunks() == ["000000000-000000002.logits.chunk"] and not recorder.faults


def test_a_chunk_tells_how_long_the_teacher_took(recording: Recording) -> None:
    recorder = recording.recorder()
    run(recorder, range(2))
    recorder.close()
    chunk = Chunk.of(recording.folder / recording.chunks()[0])
    assert chunk is not None
    assert ChunkReader(chunk).header.live_seconds > 0


def test_plans_of_several_trials_reach_as_far_as_the_last_of_them() -> None:
    assert latest([{"logits": 5}, {"logits": 3, "aux": 2}, {}]) == {"aux": 2, "logits": 5}
    assert latest([]) == {}

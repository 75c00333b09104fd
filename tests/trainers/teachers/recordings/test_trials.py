"""Trials with recordings end with the bits of those without."""

import multiprocessing
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from tests.trainers import small
from tests.trainers.stops import StoppedError, equal, reproducible
from tests.trainers.teachers.recordings.recorded import ALL_TAPS, chunks, left, plan, run, steps
from trainers import models, optim
from trainers.context import LocalContext
from trainers.loop import train
from trainers.registry import implementations
from trainers.teachers import teacher as teachers
from trainers.teachers.recordings import files, reading
from trainers.teachers.recordings.catalog import catalog, remove
from trainers.teachers.teacher import read_card

METHODS: dict[str, dict[str, Any]] = {
    **{name: {"methods": {name: {}}} for name in implementations("trainers.methods")},
    "idd": small.READING,
    "rdd": {"task": {"weighting": "rdd", "tfe_fraction": 0.5}},
    "rdd without the student's auxiliary head": {
        "task": {"weighting": "rdd", "tfe_fraction": 0.5}, "student/aux": False,
    },
    "rdd with ohem": {
        "task": {"weighting": "rdd", "tfe_fraction": 0.5, "combine": "ohem"}, "methods": {"fitnet": {}},
    },
    "dsd without the student's auxiliary head": {
        "methods": {"dsd": {"missing_aux": "logits"}}, "student/aux": False,
    },
    "channels_last": {"methods": {"cwd": {}}, "train/channels_last": True},
    "bfloat16": {"methods": {"kd": {}}, "train/precision": "bfloat16"},
    "float64": {"methods": {"kd": {}}, "train/precision": "float64"},
}  # fmt: skip
"""What is added to the small trial, by name."""


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The change that gives the small trial a teacher."""
    return {"teacher/path": str(small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors"))}


@pytest.fixture(scope="module")
def live(taught: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LocalContext]:
    """The trials without recordings, by name; each is trained once."""

    @cache
    def trained(name: str) -> LocalContext:
        return run(METHODS[name] | taught, tmp_path_factory.mktemp("live"))

    return trained


@pytest.fixture(scope="module")
def recorded(taught: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that a trial with kd has left, of all taps."""
    made: Path = tmp_path_factory.mktemp("recorded")
    run(METHODS["kd"] | taught, made / "trial", plan(made / "recordings"))
    return made / "recordings"


@pytest.fixture
def recordings(recorded: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(recorded, tmp_path / "recordings"))


def agree(one: LocalContext, other: LocalContext) -> bool:
    return equal(left(one.folder), left(other.folder)) and list(map(reproducible, one.reports)) == list(
        map(reproducible, other.reports)
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_that_records_and_one_that_finds_a_part_end_with_the_same_bits(
    name: str, taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    recording = plan(tmp_path / "recordings")
    first = run(METHODS[name] | taught, tmp_path / "first", recording)
    assert agree(first, live(name)) and steps(first.reports) == [(0, 3), (0, 3), (0, 1)]
    (middle,) = [path for path in chunks(tmp_path / "recordings") if path.name.startswith("000000003")]
    middle.unlink()
    second = run(METHODS[name] | taught, tmp_path / "second", recording)
    assert agree(second, live(name)) and steps(second.reports) == [(3, 0), (0, 3), (1, 0)]
    assert middle.exists(), "what was evicted is recorded again"


@pytest.mark.parametrize("name", ["skd", "cirkd", "rdd"])
def test_arms_share_what_one_has_recorded_and_never_load_the_teacher(
    name: str,
    taught: dict[str, Any],
    live: Callable[[str], LocalContext],
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = live(name)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the teacher must not be loaded")

    monkeypatch.setattr(teachers, "load", refuse)
    trial = run(METHODS[name] | taught, tmp_path / "trial", plan(recordings))
    assert agree(trial, expected) and steps(trial.reports) == [(3, 0), (3, 0), (1, 0)]


def test_taps_that_are_recorded_for_some_iterations_alone(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    recording = plan(tmp_path / "recordings", {"logits": 7, "aux": 4})
    name = "rdd without the student's auxiliary head"
    for trial, expected in (("first", [(0, 3), (0, 3), (0, 1)]), ("second", [(3, 0), (3, 0), (1, 0)])):
        context = run(METHODS[name] | taught, tmp_path / trial, recording)
        assert agree(context, live(name)) and steps(context.reports) == expected
    both = run(METHODS["rdd"] | taught, tmp_path / "both", recording)
    assert agree(both, live("rdd")) and steps(both.reports) == [(3, 0), (1, 2), (0, 1)]


def test_a_trial_that_reads_more_than_is_planned_runs_live_and_leaves_what_is(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    recording = plan(tmp_path / "recordings", {"logits": 7})
    context = run(METHODS["fitnet"] | taught, tmp_path / "features", recording)
    assert agree(context, live("fitnet")) and steps(context.reports) == [(0, 3), (0, 3), (0, 1)]
    context = run(METHODS["kd"] | taught, tmp_path / "logits", recording)
    assert agree(context, live("kd")) and steps(context.reports) == [(3, 0), (3, 0), (1, 0)]


def test_a_tap_that_the_teacher_lacks_is_refused_as_without_recording(tmp_path: Path) -> None:
    model = replace(read_card(small.teacher_file(tmp_path / "whole")).model, aux=False)
    network = models.build(model, num_classes=11)
    teachers.save(network, replace(read_card(tmp_path / "whole"), model=model), tmp_path / "headless")
    for recording in (None, plan(tmp_path / "recordings")):
        with pytest.raises(ValueError, match="RDD needs the teacher's 'aux' tap"):
            run(METHODS["rdd"] | {"teacher/path": str(tmp_path / "headless")}, tmp_path / "trial", recording)
    trial = run(METHODS["kd"] | {"teacher/path": str(tmp_path / "headless")}, tmp_path / "kd", plan(tmp_path / "kd's"))
    assert steps(trial.reports) == [(0, 3), (0, 3), (0, 1)]
    assert {chunk.stem.partition(".")[2] for chunk in chunks(tmp_path / "kd's")} == {"features+logits"}


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_resume_within_a_chunk(
    taught: dict[str, Any],
    live: Callable[[str], LocalContext],
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    prepared: bool,
) -> None:
    if prepared:
        shutil.copytree(recorded, tmp_path / "recordings")
    set_rate, step = optim.set_rate, iter(range(100))

    def dying(*arguments: Any) -> None:
        if next(step) == at:
            raise StoppedError
        set_rate(*arguments)

    recording = plan(tmp_path / "recordings")
    with monkeypatch.context() as patch:
        patch.setattr(optim, "set_rate", dying)
        with pytest.raises(StoppedError):
            run(METHODS["kd"] | taught, tmp_path / "trial", recording)
    before = {path.name[:19] for path in chunks(tmp_path / "recordings")}
    if not prepared:
        assert before == ({"000000000-000000001"} if at == 1 else {"000000000-000000003", "000000003-000000004"})
    context = run(METHODS["kd"] | taught, tmp_path / "trial", recording)
    assert equal(left(context.folder), left(live("kd").folder))
    reports = [(3, 0), (3, 0), (1, 0)] if prepared else [(1, 2), (0, 3), (0, 1)] if at == 1 else [(1, 2), (0, 1)]
    assert steps(context.reports) == (reports[-2:] if at == 4 else reports)
    again = run(METHODS["kd"] | taught, tmp_path / "again", recording)
    assert agree(again, live("kd")) and steps(again.reports) == [(3, 0), (3, 0), (1, 0)]


def test_a_trial_that_is_stopped_at_a_report_leaves_what_it_computed(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    stopping = LocalContext(tmp_path / "stopped")

    def report(*_: object) -> None:
        raise StoppedError

    stopping.report = report  # type: ignore[method-assign]
    recording = plan(tmp_path / "recordings")
    with pytest.raises(StoppedError):
        train(small.trial(METHODS["kd"] | taught), stopping, recording=recording)
    context = run(METHODS["kd"] | taught, tmp_path / "next", recording)
    assert agree(context, live("kd"))
    assert steps(context.reports)[0] == (3, 0)


def test_a_flipped_bit_is_noticed_said_and_mended(
    taught: dict[str, Any], live: Callable[[str], LocalContext], recordings: Path, tmp_path: Path
) -> None:
    middle = chunks(recordings)[1]
    content = bytearray(middle.read_bytes())
    content[-1000] ^= 4
    middle.write_bytes(content)
    with pytest.warns(UserWarning, match="must be as it was written.*aux at iteration 5|logits at iteration 5"):
        context = run(METHODS["rdd"] | taught, tmp_path / "trial", plan(recordings))
    assert agree(context, live("rdd"))
    assert [path.stem for path in chunks(recordings, files.DAMAGED)] == [middle.stem]
    (entry,) = catalog(recordings)
    assert entry.damaged == 1
    for _ in range(2):
        context = run(METHODS["rdd"] | taught, tmp_path / "again", plan(recordings))
        shutil.rmtree(tmp_path / "again")
    assert steps(context.reports) == [(3, 0), (3, 0), (1, 0)]


def test_a_full_disk_ends_the_recording_and_not_the_trial(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.warns(UserWarning, match="recording the teacher's outputs needs a disk .* No space left") as warned:
        context = run(METHODS["kd"] | taught, tmp_path / "trial", plan(tmp_path / "recordings"))
    assert agree(context, live("kd")) and chunks(tmp_path / "recordings", "") == []
    assert len([warning for warning in warned if "recording the teacher" in str(warning.message)]) == 1


def test_a_folder_that_cannot_be_used_is_said_and_the_teacher_computes(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="need a folder that can be written to"):
        context = run(METHODS["kd"] | taught, tmp_path / "trial", plan(tmp_path / "file"))
    assert agree(context, live("kd"))


def test_reading_that_is_slower_than_computing_is_given_up(
    taught: dict[str, Any],
    live: Callable[[str], LocalContext],
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainers.teachers.recordings.teacher.COMPARED", 2)
    take = reading.ReadAhead.take
    monkeypatch.setattr(reading.ReadAhead, "take", lambda reader: (take(reader)[0], 1e6))
    with pytest.warns(UserWarning, match="must be faster than computing them, but took 1000000000 ms"):
        context = run(METHODS["kd"] | taught, tmp_path / "trial", plan(recordings))
    assert agree(context, live("kd")) and steps(context.reports) == [(2, 1), (0, 3), (0, 1)]


def test_a_recording_that_is_removed_meanwhile_is_computed_again(
    taught: dict[str, Any],
    live: Callable[[str], LocalContext],
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, report = LocalContext(tmp_path / "trial"), LocalContext.report

    def removing(self: LocalContext, metrics: Any) -> None:
        report(self, metrics)
        for entry in catalog(recordings):
            remove(entry)

    monkeypatch.setattr(reading, "AHEAD", 1)
    monkeypatch.setattr(LocalContext, "report", removing)
    expected = live("kd")
    with pytest.warns(UserWarning, match="No such file or directory.*The training goes on, and records no more"):
        train(small.trial(METHODS["kd"] | taught), context, recording=plan(recordings))
    assert agree(context, expected) and catalog(recordings) == []


@pytest.mark.parametrize("changed", ["data_seed", "train/batch", "augment/flip"])
def test_another_key_is_another_recording(
    taught: dict[str, Any], recordings: Path, tmp_path: Path, changed: str
) -> None:
    changes = METHODS["kd"] | taught | {changed: {"data_seed": 1, "train/batch": 4, "augment/flip": False}[changed]}
    context = run(changes, tmp_path / "trial", plan(recordings))
    assert steps(context.reports) == [(0, 3), (0, 3), (0, 1)] and len(catalog(recordings)) == 2


def one_of_several(index: int, teacher: str, folder: Path) -> None:
    run(METHODS["kd"] | {"teacher/path": teacher}, folder / str(index), plan(folder / "recordings"))


def test_two_writers_at_once(taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path) -> None:
    spawn(one_of_several, args=(taught["teacher/path"], tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    for index in range(2):
        assert equal(left(tmp_path / str(index)), left(live("kd").folder))
    (entry,) = catalog(tmp_path / "recordings")
    assert entry.iterations == ALL_TAPS and entry.unfinished == entry.writing == entry.damaged == 0
    context = run(METHODS["kd"] | taught, tmp_path / "next", plan(tmp_path / "recordings"))
    assert agree(context, live("kd")) and steps(context.reports) == [(3, 0), (3, 0), (1, 0)]


def killed(teacher: str, folder: Path) -> None:
    set_rate, step = optim.set_rate, iter(range(100))

    def dying(*arguments: Any) -> None:
        if next(step) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        set_rate(*arguments)

    optim.set_rate = dying
    one_of_several(0, teacher, folder)


def test_a_killed_writers_chunk_is_taken_over(
    taught: dict[str, Any], live: Callable[[str], LocalContext], tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(taught["teacher/path"], tmp_path))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (entry,) = catalog(tmp_path / "recordings")
    assert entry.unfinished == 1 and entry.iterations == dict.fromkeys(ALL_TAPS, 3)
    context = run(METHODS["kd"] | taught, tmp_path / "next", plan(tmp_path / "recordings"))
    assert agree(context, live("kd")) and steps(context.reports) == [(3, 0), (0, 3), (0, 1)]
    (entry,) = catalog(tmp_path / "recordings")
    assert entry.unfinished == 0 and entry.iterations == ALL_TAPS


RANKS = 2


def rank_main(rank: int, teacher: str, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    for trial in ("live", "first", "second"):
        config = small.trial(METHODS["kd"] | {"teacher/path": teacher, "train/batch": 4})
        recording = None if trial == "live" else plan(folder / "recordings")
        context = LocalContext(folder / trial, rank=rank, world_size=RANKS)
        train(config, context, recording=recording)
        (folder / f"{trial}-{rank}").write_text(repr(steps(context.reports) if recording else []))
    dist.destroy_process_group()


def test_two_ranks_have_a_recording_each(taught: dict[str, Any], tmp_path: Path) -> None:
    spawn(rank_main, args=(taught["teacher/path"], tmp_path), nprocs=RANKS)  # type: ignore[no-untyped-call]
    for rank in range(RANKS):
        assert (tmp_path / f"first-{rank}").read_text() == "[(0, 3), (0, 3), (0, 1)]"
        assert (tmp_path / f"second-{rank}").read_text() == "[(3, 0), (3, 0), (1, 0)]"
    assert equal(left(tmp_path / "live"), left(tmp_path / "first"))
    assert equal(left(tmp_path / "live"), left(tmp_path / "second"))
    (entry,) = catalog(tmp_path / "recordings")
    assert entry.iterations == ALL_TAPS and entry.chunks == 6


def test_a_plan_without_bytes_reads_what_is_there_and_leaves_the_folder_as_it_is(
    taught: dict[str, Any], live: Callable[[str], LocalContext], recordings: Path, tmp_path: Path
) -> None:
    there = sorted(recordings.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = run(METHODS["kd"] | taught, tmp_path / "reading", plan(recordings, max_bytes=0))
        alone = run(METHODS["kd"] | taught, tmp_path / "alone", plan(tmp_path / "none", max_bytes=0))
    assert steps(reading.reports) == [(3, 0), (3, 0), (1, 0)] and agree(reading, live("kd"))
    assert agree(alone, live("kd"))
    assert sorted(recordings.rglob("*")) == there and not (tmp_path / "none").exists()

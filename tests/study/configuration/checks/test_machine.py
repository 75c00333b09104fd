"""What a study asks of machines, and how storage and a teacher's folder are held against what is there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from study.configuration.checks import machine, storage
from study.configuration.checks.teacher import check_options, unwritable
from study.configuration.config import ExecutionConfig, StudyConfig, TeacherConfig
from tests.trainers import small
from trainers.config import TrainConfig, parse


@pytest.mark.parametrize(
    ("precision", "gpus", "features", "warned"),
    [
        ("float32", 0, {}, False),
        ("bfloat16", 0, {"avx512_bf16": False, "avx2": True}, True),
        ("bfloat16", 0, {"avx512_bf16": True}, False),
        ("bfloat16", 0, {"amx_bf16": True}, False),
        ("bfloat16", 1, {}, False),
        ("float16", 0, {"avx512_bf16": True}, True),
        ("float16", 0, {"amx_fp16": True}, False),
    ],
)
def test_a_cpu_that_only_imitates_a_precision_is_warned_of(
    precision: Any, gpus: int, features: dict[str, bool], warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**features, "l1d_cache_size": 1})
    config = TrainConfig(iterations=2, batch=2, evaluate_every=1, precision=precision)
    found = list(machine.check_precision(config, ExecutionConfig(gpus_per_worker=gpus)))
    assert len(found) == warned and not any(finding.is_fault for finding in found)
    assert all(f"does not compute in {precision}" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("asks", "gpus", "compiler", "warned"),
    [
        ({}, 0, None, ""),
        ({"train/compile": True}, 0, "/usr/bin/c++", ""),
        ({"train/compile": True}, 1, None, ""),
        ({"train/compile": True}, 0, None, "train.compile: torch.compile needs a C++ compiler"),
        ({"teacher": {"path": "t", "compile": True}}, 0, None, "teacher.compile: torch.compile needs a C++ compiler"),
    ],
)
def test_a_cpu_without_a_compiler_is_warned_of(
    asks: dict[str, Any], gpus: int, compiler: str | None, warned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: compiler if compiler and compiler.endswith(f"/{name}") else None)
    found = [*machine.check_compile(small.trial(asks), ExecutionConfig(gpus_per_worker=gpus))]
    assert len(found) == bool(warned) and not any(finding.is_fault for finding in found)
    assert all(finding.text.startswith(warned) for finding in found)


@pytest.mark.parametrize(
    ("options", "distils", "warned"),
    [
        ({}, True, ""),
        ({"fold_batch_norm": True}, True, ""),
        ({"fold_batch_norm": True}, False, "teacher.fold_batch_norm: no arm distils"),
        ({"compile": True}, True, "teacher.compile: trials that read recorded outputs do not run the teacher"),
        ({"compile": True, "record": "off"}, True, ""),
    ],
)
def test_options_of_a_teacher_that_nobody_runs_are_warned_of(
    options: dict[str, Any], distils: bool, warned: str
) -> None:
    config = cast(StudyConfig, SimpleNamespace(teacher=parse(TeacherConfig, options)))
    found = [*check_options(config, distils=distils)]
    assert len(found) == bool(warned) and not any(finding.is_fault for finding in found)
    assert all(finding.text.startswith(warned) for finding in found)


def test_what_this_machine_lacks_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(machine, "usable_cpus", lambda: 2)
    assert list(machine.check_machine(1, ExecutionConfig(gpus_per_worker=1))) == []
    gpus, cpus = machine.check_machine(4, ExecutionConfig(gpus_per_worker=0.5))
    assert gpus.text.startswith(
        "execution.gpus_per_worker: a trial asks for 2 GPUs (4 workers), and this machine has 1"
    )
    assert cpus.text.startswith("execution.cpus_per_worker: a trial asks for 4 CPUs")
    assert not gpus.is_fault and not cpus.is_fault


@pytest.mark.parametrize(
    ("engine", "workers", "gpus", "expected"),
    [
        ("inline", 1, 0.5, ""),
        ("inline", 2, 0, "inline trials have one worker, but got train.workers=2"),
        ("train", 2, 1, ""),
        ("train", 2, 0.5, "a share of a GPU is for trials of one worker"),
    ],
)
def test_an_engine_does_what_it_can(engine: Any, workers: int, gpus: float, expected: str) -> None:
    config = TrainConfig(iterations=2, batch=4, evaluate_every=1, workers=workers)
    found = list(machine.check_workers(config, ExecutionConfig(engine=engine, gpus_per_worker=gpus)))
    assert [expected in finding.text for finding in found] == [True] * bool(expected)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("journal", ""),
        ("jounal", "must be journal or the URL of a database that SQLAlchemy knows, but got 'jounal'"),
        ("nosuch://host/name", "must be journal or the URL of a database that SQLAlchemy knows"),
        ("mysql+nosuchdriver://u:secret@host/name", "mysql+nosuchdriver"),
        ("postgresql+pg8000://u:secret@host/name", "needs a driver that is not installed"),
        ("sqlite://", "must have an absolute path"),
        ("sqlite:///here.db", "must have an absolute path"),
        ("sqlite:////no/such/folder/x.db", "the folder of SQLite's file must exist"),
        ("sqlite:///{folder}/x.db", ""),
    ],
)
def test_a_database_has_its_driver_and_its_place(url: str, expected: str, tmp_path: Path) -> None:
    found = list(storage.check_storage(url.format(folder=tmp_path)))
    assert [expected in finding.text for finding in found] == [True] * bool(expected)
    assert all(finding.is_fault and "secret" not in finding.text for finding in found)


def make_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "below"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (lambda folder: folder, None),
        (lambda folder: folder / "new" / "below", None),
        (make_file, "is no folder"),
    ],
)
def test_a_folder_that_cannot_be_written_is_known_before(
    place: Callable[[Path], Path], expected: str | None, tmp_path: Path
) -> None:
    why = unwritable(place(tmp_path))
    assert why is None if expected is None else why is not None and why.endswith(expected)


def test_a_folder_without_leave_to_write_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write everywhere, except on a read-only file system
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert unwritable(tmp_path / "teachers") == f"{tmp_path} cannot be written to"

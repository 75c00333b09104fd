"""A study that trains in seconds, as a file, as a configuration, and with a teacher's file that nobody trained."""

import atexit
import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from study.configuration.config import StudyConfig
from study.configuration.loading import load
from tests.conftest import ROOT
from trainers import models
from trainers.config import replaced
from trainers.data import streets
from trainers.data.transforms import Normalisation
from trainers.models import deeplabv3
from trainers.teachers import teacher as teachers

NETWORK = {"architecture": "deeplabv3", "backbone": "mobilenetv2_035", "head_channels": 16, "rates": [2, 4]}
SCHEDULE = {"iterations": 12, "batch": 4, "evaluate_every": 2, "optimizer": {"lr": 0.05}}
TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 1,
    "data": {"name": "streets", "size": [48, 64], "train_images": 24, "val_images": 8},
    "augment": {"crop": [48, 64], "scale": [0.75, 1.5]},
    "student": NETWORK,
    "train": SCHEDULE,
    "teacher": {"model": NETWORK, "train": {**SCHEDULE, "evaluate_every": 6}, "folder": "teachers"},
    "arms": {
        "baseline": {"trials": 2, "space": "optimizer"},
        "rdd": {"trials": 4, "space": ["rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
    },
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny study with values at `a__b` paths replaced."""
    values = copy.deepcopy(TINY)
    for path, value in changes.items():
        values = replaced(values, path, value, separator="__")
    return values


def write_study(folder: Path, values: dict[str, Any], name: str = "tiny.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def ray_environment() -> dict[str, str]:
    """For a process that starts Ray: short temporary folders, and no cluster but its own.

    Nothing in it is ended because other programs have taken the machine's memory.
    """
    scratch = tempfile.mkdtemp(prefix="kdt", dir="/tmp")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    root = str(ROOT)
    own = {"RAY_TMPDIR": scratch, "TMPDIR": scratch, "RAY_memory_monitor_refresh_ms": "0"}
    return {**kept, **own, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}


def write_teacher(path: Path, *, classes: int | None = None) -> Path:
    """A teacher's file as `kdstudy teacher` writes it, of an untrained network."""
    torch.manual_seed(0)
    names = streets.Dataset.class_names[:classes]
    config = deeplabv3.Config(backbone="mobilenetv2_035", head_channels=16, rates=(2, 4))
    card = teachers.TeacherCard(
        model=config,
        class_names=names,
        normalisation=Normalisation(),
        data=streets.Config(size=(48, 64)),
        miou_percent=50.0,
        probe_miou_percent=0.0,
        trained_by="0" * 64,
    )
    teachers.save(models.build(config, num_classes=len(names)), card, path)
    return path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny study, with values at `a__b` paths replaced, and gives its path.

    What it keeps for other studies, teachers and decoded images, lies beside it, and not where the tests are run.
    """

    def written(**changes: Any) -> Path:
        values = tiny(**changes)
        if kept := values["teacher"].get("folder"):
            values = replaced(values, "teacher/folder", str(tmp_path / kept))
        return write_study(tmp_path, values)

    return written


@pytest.fixture
def config(study_file: Callable[..., Path]) -> Callable[..., StudyConfig]:
    """Reads the tiny study, with values at `a__b` paths replaced."""
    return lambda **changes: load(str(study_file(**changes)))

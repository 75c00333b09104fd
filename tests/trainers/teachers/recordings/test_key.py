import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from tests.trainers import small
from trainers.data import streets, transforms
from trainers.teachers.recordings.key import key_hash, recording_key

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"teacher/path": str(small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors"))}


def key(changes: dict[str, Any]) -> str:
    return key_hash(recording_key(small.trial(changes), device=CPU))


@pytest.mark.parametrize(
    "change",
    [
        {"methods": {"kd": {}}},
        {"task": {"weighting": "focal"}},
        {"init_seed": 5},
        {"student/head_channels": 8},
        {"train/iterations": 90},
        {"train/evaluate_every": 1},
        {"train/optimizer/lr": 1e-3},
        {"train/freeze_batch_norm": True},
    ],
)
def test_what_no_teacher_notices_is_in_no_key(taught: dict[str, Any], change: dict[str, Any]) -> None:
    assert key(taught | change) == key(taught)


@pytest.mark.parametrize(
    "change",
    [
        {"data/size": [64, 96]},
        {"holdout": 0.4, "data/train_images": 6},
        {"augment/crop": [32, 32]},
        {"augment/scale": [0.5, 1.0]},
        {"data_seed": 1},
        {"train/batch": 4},
        {"train/workers": 2},
        {"train/threads": 2},
        {"train/precision": "bfloat16"},
        {"train/channels_last": True},
        {"teacher/sha256": "0" * 64},
    ],
)
def test_all_that_the_teacher_computes_from_is_in_the_key(taught: dict[str, Any], change: dict[str, Any]) -> None:
    assert key(taught | change) != key(taught)


def other_versions() -> dict[str, Callable[[pytest.MonkeyPatch], None]]:
    def drawn(patch: pytest.MonkeyPatch) -> None:
        load = streets.Dataset.load
        patch.setattr(streets.Dataset, "load", lambda data, index: (255 - load(data, index)[0], load(data, index)[1]))

    return {
        "torch": lambda patch: patch.setattr(torch, "__version__", "99.0.0"),
        "opencv": lambda patch: patch.setattr(cv2, "__version__", "9"),
        "augmentation": lambda patch: patch.setattr(transforms, "VERSION", 9),
        "instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX9"),
        "drawing of images": drawn,
    }


@pytest.mark.parametrize("name", other_versions())
def test_so_are_versions_and_machine(taught: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = key(taught)
    other_versions()[name](monkeypatch)
    assert key(taught) != before


def test_where_files_lie_is_in_no_key(taught: dict[str, Any], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.write_bytes(Path(taught["teacher/path"]).read_bytes())
    assert key({"teacher/path": str(moved)}) == key(taught)


def test_it_is_plain(taught: dict[str, Any]) -> None:
    found = recording_key(small.trial(taught), device=CPU, ranks=3)
    assert found["ranks"] == 3 and json.loads(json.dumps(found)) == found

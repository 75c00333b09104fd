"""The teacher of a study, from what its trial left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.configuration.config import StudyConfig
from study.execution.teacher import StudyTeacher
from trainers.context import LocalContext
from trainers.loop import train


def test_a_teacher_whose_checkpoint_is_damaged_is_not_kept(tmp_path: Path, config: Callable[..., StudyConfig]) -> None:
    study = config(teacher__folder=str(tmp_path / "teachers"), teacher__train__iterations=2)
    context = LocalContext(tmp_path / "trial")
    train(study.teacher_trial(), context)
    (checkpoint,) = context.checkpoints()
    weights = checkpoint / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    said: list[str] = []
    teacher = StudyTeacher(study, tmp_path, said.append)
    with pytest.raises(ValueError, match=r"cannot be kept: .*weights\.safetensors must have .*; train it beside this"):
        teacher.trained(checkpoint)
    assert teacher.file is None and not (tmp_path / "teachers").exists()
    weights.write_bytes(whole)
    teacher.trained(checkpoint)
    assert teacher.file is not None and Path(teacher.file.path).parent == tmp_path / "teachers"

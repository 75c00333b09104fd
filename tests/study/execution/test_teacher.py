"""The teacher of a study, from what its trial left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.configuration.config import StudyConfig
from study.execution.teacher import StudyTeacher
from trainers.context import LocalContext
from trainers.loop import train


def test_a_teacher_whose_checkpoint_is_damaged_is_not_kept(tmp_path: Path, config: Callable[..., StudyConfig]) -> None:
    study = config(
        teacher__folder=str(tmp_path / "teachers"), teacher__train__iterations=2, teacher__train__evaluate_every=2
    )
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


def test_what_trained_the_teacher_stays_while_the_study_lasts(
    tmp_path: Path, config: Callable[..., StudyConfig]
) -> None:
    """Also where the ledger has no teacher, because another study had trained the same one."""
    changes = {"teacher__folder": str(tmp_path / "teachers"), "teacher__train__evaluate_every": 2}
    study = config(**changes, teacher__train__iterations=2)
    context = LocalContext(tmp_path / "trial")
    train(study.teacher_trial(), context)
    StudyTeacher(study, tmp_path, lambda _: None).trained(context.checkpoints()[-1])
    again = StudyTeacher(study, tmp_path, lambda _: None)
    with pytest.raises(ValueError, match=r"teacher: must stay what trained the teacher of this study .*put it back"):
        StudyTeacher(config(**changes, teacher__train__iterations=4), tmp_path, lambda _: None)
    # moved, and named where it lies now, it is the same
    assert again.file is not None
    moved = tmp_path / "moved.safetensors"
    Path(again.file.path).rename(moved)
    named = StudyTeacher(config(**changes, teacher__file=str(moved)), tmp_path, lambda _: None)
    assert named.file is not None and (named.file.path, named.file.sha256) == (str(moved), again.file.sha256)

"""The teacher of a study, from what its trial left."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import study.configuration.config as study_config
import study.execution.teacher as study_teacher
from study.configuration.config import StudyConfig
from study.execution.teacher import StudyTeacher
from trainers.config import content_hash, identity
from trainers.context import LocalContext
from trainers.data import streets
from trainers.evaluation.evaluation import evaluate
from trainers.loop import train
from trainers.teachers import teacher as teachers


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


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher whose file is of float16, and the folder of the study that trained it."""
    return tmp_path_factory.mktemp("half")


HALF = {
    "teacher__stored": "float16",
    "teacher__data": {"train_images": 40},
    "teacher__train__iterations": 2,
    "teacher__train__evaluate_every": 2,
}


@pytest.fixture
def shipped(half: Path, config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The teacher of the study HALF, where teachers of presets lie; trained once."""
    for module in (study_config, study_teacher):
        monkeypatch.setattr(module, "SHIPPED_TEACHERS", half / "teachers")
    study = config(**HALF, teacher__folder=str(half / "teachers"))
    if not study.teacher_path.exists():
        context = LocalContext(half / "trial")
        train(study.teacher_trial(), context)
        StudyTeacher(study, half, lambda _: None).trained(context.checkpoints()[-1])
    return study.teacher_path


def test_a_rounded_teacher_is_scored_by_what_its_file_holds(shipped: Path, config: Callable[..., StudyConfig]) -> None:
    study = config(**HALF)
    teacher = teachers.load(shipped, class_names=streets.Dataset.class_names)
    val = streets.Dataset(study.data, "val")
    found = evaluate(teacher.network, val, normalisation=teacher.card.normalisation, device=torch.device("cpu"))
    assert teacher.card.stored == "float16" and teacher.card.miou_percent == found.miou_percent
    assert teacher.card.trial == identity(study.teacher_trial())
    assert teacher.card.trained_by == content_hash(study.teacher_trial())
    assert teacher.card.data.train_images == 40 and study.data.train_images == 24


def test_a_shipped_teacher_is_found_by_what_trained_it(
    shipped: Path, tmp_path: Path, config: Callable[..., StudyConfig]
) -> None:
    folder = {"teacher__folder": str(tmp_path / "teachers")}
    found = StudyTeacher(config(**HALF, **folder), tmp_path, lambda _: None)
    assert found.file is not None and not found.must_train
    # for machines that have no such copy of kdstudy
    assert found.file.path == str(tmp_path / "teachers" / shipped.name)
    assert found.file.sha256 == teachers.sha256(shipped)
    (tmp_path / "teachers" / shipped.name).unlink()
    others = {
        "seed": {"seed": 2},
        "schedule": {"teacher__train__iterations": 4},
        "precision": {"teacher__stored": "float32"},
        "images": {"teacher__data": {}},
        "asked to": {"teacher__shipped": False},
    }
    for name, change in others.items():
        (tmp_path / name).mkdir()
        assert StudyTeacher(config(**{**HALF, **folder, **change}), tmp_path / name, lambda _: None).must_train, name


def test_a_teacher_of_ones_own_comes_before_the_shipped_one(
    shipped: Path, tmp_path: Path, config: Callable[..., StudyConfig]
) -> None:
    own = tmp_path / "teachers" / shipped.name
    own.parent.mkdir()
    shutil.copy(shipped, own)
    study = config(**HALF, teacher__folder=str(own.parent))
    assert study.teacher_path == own
    own.unlink()
    assert study.teacher_path == shipped

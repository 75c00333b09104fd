"""The plan of a study's recordings: who shares what, where it lies, what fits, and what a person is told of it."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from study.configuration.config import StudyConfig
from study.configuration.recordings import plan
from study.configuration.recordings.plan import NO_RECORDINGS, StudyRecordings, plan_recordings, recordings_folder
from study.configuration.recordings.readers import key_of, planned_readers, planned_trials
from tests.study.conftest import tiny
from trainers.config import TeacherFile, TrialConfig, parse
from trainers.teachers.recordings.catalog import catalog
from trainers.teachers.recordings.files import KEY, WHOLE, path_of, rank_folder
from trainers.teachers.recordings.key import of_trial

Reader = Callable[..., StudyConfig]
FILE = TeacherFile(path="teacher.safetensors", sha256="7" * 64)
KD = {"task": {"weighting": "uniform"}, "methods": {"kd": {}}}
FITNET = {"task": {"weighting": "uniform"}, "methods": {"fitnet": {}}}
TAPS = ("aux", "features", "logits")
LOGITS = 4 * 11 * 6 * 8 * 4
"""Bytes of a batch of 4 images of 48x64 at stride 8, of 11 classes in float32."""


@pytest.fixture(autouse=True)
def _disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 10 GiB free."""
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * 2**30))


def trials_of(config: StudyConfig, arm: str, **values: Any) -> TrialConfig:
    return config.trial(arm, values or config.space(arm).defaults(), FILE)


def only(found: StudyRecordings) -> Any:
    (one,) = found.plans.values()
    return one


def write_recording(folder: Path, trial: TrialConfig, size: int, sha256: str | None = FILE.sha256) -> None:
    """As a trial would have left it."""
    rank = rank_folder(folder / f"{len(list(folder.glob('*'))):032x}", 0)
    rank.mkdir(parents=True)
    (rank.parent / KEY).write_text(
        json.dumps({**of_trial(trial), "teacher": {"sha256": sha256}, "torch": "2.9", "device": "cpu"})
    )
    path_of(rank, 0, 2, ["logits"], WHOLE).write_bytes(bytes(size))


def test_trials_of_all_arms_share_one_recording(config: Reader, tmp_path: Path) -> None:
    study = config(arms__kd={"trials": 3, "space": "kd", **KD})
    found = plan_recordings(study, tmp_path)
    recording = only(found)
    assert recording.folder == str(tmp_path / "teachers" / "recordings")
    assert recording.max_bytes == 2**30, "a tenth of what is free"
    assert recording.taps["logits"] == 12
    for arm in ("kd", "rdd"):
        assert found.of(trials_of(study, arm)) == recording
    assert found.of(study.trial("baseline", study.space("baseline").defaults(), None)) is None
    assert found.of(study.trial("kd", {**study.space("kd").defaults(), "train/batch": 2}, FILE)) is None
    (line,) = found.lines
    assert line.startswith(
        f"teacher's outputs: recorded once for all trials that read them, at most 1.0 GiB in {recording.folder}: "
    )


def test_the_auxiliary_head_is_recorded_while_two_trials_read_it(config: Reader, tmp_path: Path) -> None:
    # the student's own auxiliary head would read the teacher's to the end
    changes = {"student__aux": False, "arms__kd": {"trials": 1, "space": "kd", **KD}}
    for trials, aux in ((10, 12), (5, 4)):
        study = config(arms__rdd__trials=trials, **changes)
        assert only(plan_recordings(study, tmp_path)).taps == {"logits": 12, "aux": aux}


def test_each_seed_has_a_recording_that_the_arms_share(config: Reader, tmp_path: Path) -> None:
    study = config(arms={"kd": {"trials": 3, **KD}, "fitnet": {"trials": 2, **FITNET}, "at": {"trials": 2, **KD}})
    found = plan_recordings(study, tmp_path)
    seeds = [key_of(study.trial("kd", {"replicate": number}, FILE), on_gpu=False) for number in range(3)]
    assert found.plans.keys() == set(seeds) and len(set(seeds)) == 3
    # the third is read by one trial of kd alone: it reads what is there, and records nothing
    assert [found.plans[seed].max_bytes for seed in seeds] == [2**30, 2**30, 0]
    assert [dict(found.plans[seed].taps) for seed in seeds] == [{"logits": 12}, {"logits": 12}, {"logits": 12}]
    assert f"logits of 12 iterations, {2 * 12 * LOGITS / 2**10:.1f} KiB in 2 recordings" in found.lines[0]


def test_what_one_trial_reads_is_not_recorded(config: Reader, tmp_path: Path) -> None:
    found = plan_recordings(config(arms={"kd": {"trials": 4, **KD}}), tmp_path)
    assert {recording.max_bytes for recording in found.plans.values()} == {0}
    assert found.lines == ("teacher's outputs: not recorded, because no two planned trials read the same outputs",)


def test_searched_batches_have_recordings_of_their_own(config: Reader, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    arms = {name: {"trials": 4, "space": str(own), **KD} for name in ("kd", "kd-too")}
    own.write_text(yaml.safe_dump({"train/batch": {"type": "int", "low": 2, "high": 8, "step": 2, "default": 4}}))
    readers = planned_readers(config(arms=arms), TAPS)
    assert len({one.key for one in readers}) == 4 and {one.trials for one in readers} == {1.0}
    assert {one.trial.train.batch for one in readers} == {2, 4, 6, 8}
    # a real number is another one in every trial
    jitter = {"type": "float", "low": 0.0, "high": 0.5, "default": 0.1}
    own.write_text(yaml.safe_dump({"augment/jitter/brightness": jitter}))
    study = config(arms=arms)
    assert planned_readers(study, TAPS) == []
    assert plan_recordings(study, tmp_path).plans == {}


def test_only_trials_that_read_and_can_be_built_count(config: Reader, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({
        "methods/kd/weights/pixel": {"type": "categorical", "choices": [0.0, 1.0], "default": 0.0},
        "student/backbone": {"type": "categorical", "choices": ["mobilenetv2_035", "resnet18"], "default": "resnet18"},
        "student/width": {"type": "categorical", "choices": [1.0, 0.5], "default": 0.5},
    }))  # fmt: skip
    study = parse(StudyConfig, tiny(arms={"kd": {"trials": 6, "space": [str(own)], **KD}}))
    (readers,) = planned_readers(study, TAPS)
    assert (readers.trials, readers.taps) == (3.0, {"logits": 12})


def test_budgets_by_cost_are_so_many_whole_trials(config: Reader) -> None:
    study = config(budget={"iterations": 60}, arms__rdd__budget={"whole_trials": 3}, arms__rdd__trials=2)
    assert (planned_trials(study, "baseline"), planned_trials(study, "rdd")) == (2, 2)
    study = config(budget={"iterations": 60}, arms__baseline__trials=9)
    assert (planned_trials(study, "baseline"), planned_trials(study, "rdd")) == (5, 4)
    assert planned_trials(config(price="measured", budget={"seconds": 60}), "rdd") == 4


def test_what_does_not_fit_is_left_out_and_said(config: Reader, tmp_path: Path) -> None:
    changes = {"arms": {"kd": {"trials": 3, "space": "kd", **KD}, "fitnet": {"trials": 2, "space": "fitnet", **FITNET}}}
    whole = only(plan_recordings(config(**changes), tmp_path))
    assert whole.taps == {"features": 12, "logits": 12}
    small = config(**changes, teacher__record={"max_gib": 13 * LOGITS / 2**30})
    found = plan_recordings(small, tmp_path)
    assert (only(found).taps, only(found).max_bytes) == ({"logits": 12}, 13 * LOGITS)
    recorded, left_out = found.lines
    assert "logits of 12 iterations" in recorded and "features" not in recorded
    assert "features of 12 iterations" in left_out and left_out.startswith(
        f"teacher's outputs: not recorded, because {LOGITS / 1024:.1f} KiB are left of the {13 * LOGITS / 1024:.1f} KiB"
    )
    nothing = plan_recordings(config(**changes, teacher__record={"max_gib": 1e-9}), tmp_path)
    assert only(nothing).max_bytes == 0 and len(nothing.lines) == 1


def test_recordings_of_others_take_their_space_and_ones_own_do_not(config: Reader, tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    study = config(teacher__record={"folder": str(place), "max_gib": 30 * LOGITS / 2**30})
    trial = trials_of(study, "rdd")
    write_recording(place, trial, 20 * LOGITS)
    assert only(plan_recordings(study, tmp_path, FILE)).max_bytes > 0
    assert only(plan_recordings(study, tmp_path)).max_bytes == 0, "of what teacher it is nobody knows yet"
    write_recording(place, trial, 20 * LOGITS, sha256="8" * 64)
    found = plan_recordings(study, tmp_path, FILE)
    assert only(found).max_bytes == 0 and f"remove others: kdstudy recordings {place} --prune" in found.lines[0]
    # by default what recordings take is no less free than before
    study = config(teacher__record={"folder": str(place)})
    taken = sum(entry.bytes for entry in catalog(place))
    assert only(plan_recordings(study, tmp_path, FILE)).max_bytes == int(0.1 * (10 * 2**30 + taken))


def test_named_taps_alone_are_recorded(config: Reader, tmp_path: Path) -> None:
    assert only(plan_recordings(config(teacher__record={"taps": ["logits"]}), tmp_path)).taps == {"logits": 12}
    (line,) = plan_recordings(config(teacher__record={"taps": ["features"]}), tmp_path).lines
    assert line.endswith("because arms read aux, logits, and teacher.record.taps has only features")


@pytest.mark.parametrize("record", ["off", False])
def test_off_is_off(config: Reader, tmp_path: Path, record: object) -> None:
    assert plan_recordings(config(teacher__record=record), tmp_path) == NO_RECORDINGS


def test_a_folder_that_cannot_be_written_is_read(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "others"
    shared.mkdir()
    monkeypatch.setattr(
        plan, "unwritable", lambda folder: f"{folder} cannot be written to" if folder == shared else None
    )
    found = plan_recordings(config(teacher__record={"folder": str(shared)}), tmp_path)
    assert (only(found).folder, only(found).max_bytes) == (str(shared), 0)
    (line,) = found.lines
    assert f"because {shared} cannot be written to; what is recorded there is read; name a folder" in line


def test_recordings_lie_beside_the_teachers_or_else_in_the_study(config: Reader, tmp_path: Path) -> None:
    study = config(teacher__folder=str(tmp_path / "kept"))
    assert recordings_folder(study, tmp_path / "study") == tmp_path / "kept" / "recordings"
    (tmp_path / "kept").write_text("a file")
    assert recordings_folder(study, tmp_path / "study") == tmp_path / "study" / "recordings"
    named = config(teacher__record={"folder": str(tmp_path / "named")})
    assert recordings_folder(named, tmp_path / "study") == tmp_path / "named"

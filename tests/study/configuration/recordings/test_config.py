"""`teacher.record`: how it is read, what it is no part of, and what of it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.commands.searches.driving import refuse_lost_places
from study.commands.searches.extension import extended
from study.configuration.changes import Changes
from study.configuration.checks import examine
from study.configuration.config import StudyConfig, TeacherConfig
from study.configuration.identity import record, refuse_another
from study.configuration.loading import load
from study.configuration.recordings.config import RecordConfig
from study.folder import create_study, read_config
from trainers.config import ConfigError, content_hash, parse, plain

Reader = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("auto", RecordConfig()),
        ("off", RecordConfig(taps=())),
        (False, RecordConfig(taps=())),  # YAML reads a bare off so
        ({"taps": ["logits"], "max_gib": 5}, RecordConfig(taps=("logits",), max_gib=5.0)),
    ],
)
def test_a_word_or_a_mapping(said: object, read: RecordConfig) -> None:
    teacher = parse(TeacherConfig, {"record": said})
    assert teacher.record == read and read.on == (said not in ("off", False))
    assert parse(TeacherConfig, plain(teacher)) == teacher


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("of", "record: must be auto, off, or a mapping of taps, max_gib and folder, but got 'of'"),
        (True, "record: must be auto, off, or a mapping of taps, max_gib and folder, but got True"),
        ({"tap": []}, "record.tap: no such key; did you mean 'taps'?"),
        ({"max_gib": 0}, "record.max_gib: input should be greater than 0, but got 0"),
    ],
)
def test_anything_else_is_refused(said: object, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(TeacherConfig, {"record": said})
    assert raised.value.faults == [fault]


def test_a_bare_off_in_a_file_or_a_setting_is_off(study_file: Callable[..., Path]) -> None:
    path = study_file()
    path.write_text(path.read_text().replace("teacher:\n", "teacher:\n  record: off\n"))
    assert not load(str(path)).teacher.record.on
    assert load(str(path), ["teacher.record=auto"]).teacher.record.on
    assert not load(str(study_file()), ["teacher.record=off"]).teacher.record.on


def test_it_is_no_part_of_what_trials_and_teachers_are(config: Reader, tmp_path: Path) -> None:
    studies = [config(teacher__record=said) for said in ("auto", "off", {"folder": "elsewhere"})]
    assert studies[2].teacher.record.folder == str(Path("elsewhere").absolute())
    assert len({content_hash(study.teacher_trial()) for study in studies}) == 1
    assert len({content_hash(study) for study in studies}) == 1
    for arm in ("rdd", "teacher"):
        refuse_another(record(studies[0], arm), studies[1], arm)
    assert extended(studies[0], studies[1], tmp_path) == studies[0]


def test_a_study_from_before_records_from_now_on(config: Reader, tmp_path: Path) -> None:
    create_study(config(), tmp_path / "study")
    held = tmp_path / "study" / "study.json"
    former = held.read_text().replace('"record":{"folder":null,"max_gib":null,"taps":null},', "")
    assert "record" not in former
    held.write_text(former)
    assert read_config(tmp_path / "study") == config().with_spaces()


def test_it_may_change_while_a_study_lasts(config: Reader) -> None:
    study = config()
    assert not Changes(sets=("teacher.record=off",)).apply(study).teacher.record.on
    assert Changes(sets=("teacher.record.max_gib=3",)).apply(study).teacher.record.max_gib == 3
    with pytest.raises(ConfigError, match=r"teacher\.record\.taps: must be taps of the teacher's network, but got 'x'"):
        Changes(sets=("teacher.record.taps=[x]",)).apply(study)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (
            {"taps": ["logits", "feature"]},
            "teacher.record.taps: must be taps of the teacher's network, but got 'feature'; did you mean 'features'?",
        ),
        (
            {"folder": "s3://key:secret@bucket/x"},
            "teacher.record.folder: must be a folder, whose files can be locked and renamed, but got s3://key@bucket/x"
            "; name one on a local disk or NFS",
        ),
    ],
)
def test_what_cannot_be_is_a_fault(config: Reader, said: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(teacher__record=said)
    assert raised.value.faults == [fault]
    # of a study that has no teacher nothing is read
    assert not examine(config(teacher={"record": said}, arms={"baseline": {"trials": 1}})).faults


def test_a_submitted_driver_does_not_record_into_its_copy(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    study = config(teacher__folder="/shared/teachers", teacher__record={"folder": "recordings"})
    with pytest.raises(
        ValueError, match=r"teacher\.record\.folder must be an absolute path on storage that all nodes see"
    ):
        refuse_lost_places(Path("/shared/x"), study)

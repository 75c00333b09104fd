"""`kdstudy recordings`: what lies there is said in words and as JSON, and what is meant is removed and no more."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.__main__ import main
from study.configuration.config import StudyConfig
from study.folder import create_study
from tests.study.configuration.recordings.test_plan import FILE, write_recording
from trainers.teachers.recordings.files import DAMAGED, KEY, path_of, rank_folder

Reader = Callable[..., StudyConfig]
DAY_S = 86400


@pytest.fixture
def place(config: Reader, tmp_path: Path) -> Path:
    """Three recordings: one of today, one of ten days ago, and one whose key cannot be read."""
    study = config()
    place = tmp_path / "recordings"
    for seed in (1, 2, 3):
        write_recording(place, study.trial("rdd", {**study.space("rdd").defaults(), "data_seed": seed}, FILE), 4096)
    first, second, third = sorted(place.iterdir())
    path_of(rank_folder(first, 0), 2, 4, ["logits"], DAMAGED).write_bytes(b"torn")
    before = time.time() - 10 * DAY_S
    os.utime(second / KEY, (before, before))
    (third / KEY).write_text("{")
    return place


def test_what_is_recorded_is_said_in_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recordings", str(place)]) == 0
    said = capsys.readouterr().out
    assert "logits of 2 iterations; " in said and "chunks: 1, damaged: 1; last used " in said
    assert "streets, crop 48x64, batch 4, data_seed 1, float32, ranks: 1, threads: 1" in said
    assert f"teacher {'7' * 12}" in said and "of what cannot be read" in said
    assert said.splitlines()[-1].startswith(f"in {place}: 3 recordings, ")


def test_and_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recordings", str(place), "--json"]) == 0
    found = {Path(one["folder"]).name[-1]: one for one in json.loads(capsys.readouterr().out)}
    assert (found["0"]["iterations"], found["0"]["damaged"], found["0"]["chunks"]) == ({"logits": 2}, 1, 1)
    assert found["1"]["key"]["data_seed"] == 2 and found["2"]["key"] == {}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--only", "0" * 31 + "1"], {"0", "2"}),
        (["--unused", "5d"], {"0", "2"}),
        (["--unused", "20d"], {"0", "1", "2"}),
        ([], set()),
    ],
)
def test_what_is_meant_is_removed(place: Path, options: list[str], left: set[str]) -> None:
    main(["recordings", str(place), *options])
    assert len(list(place.iterdir())) == 3, "without --prune nothing is"
    assert main(["recordings", str(place), *options, "--prune"]) == 0
    assert {path.name[-1] for path in place.iterdir()} == left


def test_other_folders_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / KEY).write_text("{}")
    assert main(["recordings", str(tmp_path), "--prune"]) == 0
    assert (tmp_path / "project" / KEY).exists()


def test_a_studys_folder_stands_for_where_its_recordings_lie(
    config: Reader, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_study(config(teacher__record={"folder": str(place)}), tmp_path / "study")
    assert main(["recordings", str(tmp_path / "study")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"in {place}: 3 recordings, ")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["nowhere"], "FOLDER must be one of recordings, or of a study, but there is no folder nowhere"),
        (
            ["{place}", "--only", "7"],
            "--only must be the name of a recording, or begin it, but got '7'; there are: 0000",
        ),
    ],
)
def test_what_is_not_there_is_refused(
    place: Path, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recordings", *(part.format(place=place) for part in arguments)]) == 2
    assert fault in capsys.readouterr().err


def test_where_nothing_was_recorded_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recordings"]) == 0
    assert capsys.readouterr().out == "in runs/teachers/recordings: 0 recordings, 0.0 KiB\n"

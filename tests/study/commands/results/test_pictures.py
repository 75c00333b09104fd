"""Pictures of predictions for the report, from a study whose trials were trained here. No cluster is started."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.pictures.predictions import BASELINE, BEST, FILE, RDD, TEACHER, Pictures
from analysis.statistics import miou_percent
from analysis.studies.image_counts import TrialName, image_counts
from analysis.studies.study import open_study
from study.__main__ import main
from study.api import read
from study.commands.results import predicting
from study.commands.results.pictures import pictures_of
from study.configuration.loading import load
from study.execution.recording import recorder
from study.execution.recording.study_tables import StudyTables
from study.ledger.ledger import open_arms
from tests.study.commands.trials.test_export import trained_study
from tests.study.conftest import tiny, write_study, write_teacher
from tests.study.test_light_commands import loaded
from trainers.config import TeacherFile
from trainers.teachers import teacher

PICTURE = '<img src="data:image/'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with one finished trial in each of its arms, `baseline` and `rdd`."""
    place = tmp_path_factory.mktemp("pictures")
    file = write_teacher(place / "teacher.safetensors")
    values = tiny(teacher={"file": str(file)}, train__iterations=4, train__evaluate_every=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
        torch.set_num_threads(1)
        found = TeacherFile(path=str(file), sha256=teacher.sha256(file))
        config = load(str(write_study(place, values)))
        trained_study(config, place / "run", found)
    arms = open_arms(config, place / "run", with_teacher=False)
    counts = StudyTables(config, place / "run", arms)
    counts.complete(arms)
    counts.close()
    note = {"path": str(file), "sha256": found.sha256, "miou_percent": 50.0}
    (place / "run" / "teacher.json").write_text(json.dumps(note))
    return place / "run"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The study, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def drawn(folder: Path, *, plugins: bool = False) -> Pictures:
    found = pictures_of(folder, plugins=plugins)
    assert isinstance(found, Pictures), found
    return found


def why_not(folder: Path) -> str:
    found = pictures_of(folder, plugins=False)
    assert isinstance(found, str)
    return found


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_predictions_score_what_the_trials_evaluations_counted(folder: Path) -> None:
    found = drawn(folder)
    assert found.names == {BASELINE: "baseline-0", BEST: "rdd-0", TEACHER: "teacher", RDD: "rdd-0"}
    counts = image_counts(open_study(folder), [TrialName("baseline", 0), TrialName("rdd", 0)])
    scores = miou_percent(counts.counts)
    assert len(found.images) == 4
    for one in found.images:
        place = counts.images.index(one.name)
        for row, whose in enumerate((BASELINE, BEST)):
            assert one.miou_percent[whose] == pytest.approx(scores[row, place], abs=1e-9)
        assert one.image.shape == (48, 64, 3) and set(one.predictions) == {BASELINE, BEST, TEACHER}
    assert found.difficulty.startswith(b"\x89PNG")


def test_a_second_report_predicts_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = drawn(folder)
    assert "predicting 4 images" in capsys.readouterr().err
    monkeypatch.setattr(predicting, "predicted", lambda *_, **__: pytest.fail("was there already"))
    shutil.rmtree(folder / "trials")  # nor needs what it was made of
    second = drawn(folder)
    assert second.names == first.names and [one.name for one in second.images] == [one.name for one in first.images]
    assert capsys.readouterr().err == ""


def test_kept_pictures_outlive_a_teacher_that_comes_back_too_late(folder: Path, tmp_path: Path) -> None:
    path = Path(json.loads((folder / "teacher.json").read_text())["path"])
    change(folder / "teacher.json", path=str(tmp_path / "away"))
    assert TEACHER not in drawn(folder).names
    shutil.copy(path, tmp_path / "away")
    shutil.rmtree(folder / "trials")
    assert TEACHER not in drawn(folder).names


def test_kept_pictures_need_no_pytorch(folder: Path) -> None:
    drawn(folder)
    _, modules = loaded(["report", str(folder)])
    assert modules.isdisjoint({"torch", "timm", "cv2"})


def test_without_checkpoints_the_report_says_so(folder: Path) -> None:
    shutil.rmtree(folder / "trials")
    assert main(["report", str(folder)]) == 0
    left_out = (folder / "report.html").read_text().partition("Left out, because")[2]
    assert "<strong>Pictures of predictions</strong> (Predictions need the checkpoints" in left_out
    assert not (folder / FILE).exists()


def test_without_the_dataset_it_says_so(folder: Path) -> None:
    change(folder / "study.json", data={"name": "camvid", "root": str(folder / "nowhere")})
    assert "nowhere" in why_not(folder)


def test_damaged_weights_are_named(folder: Path) -> None:
    weights = next((folder / "trials" / "rdd-00000").rglob("*4/*.safetensors"))
    weights.write_bytes(b"damaged")
    assert weights.name in why_not(folder)


def test_without_its_teacher_the_students_are_drawn_and_with_it_again_all(folder: Path, tmp_path: Path) -> None:
    file = Path(json.loads((folder / "teacher.json").read_text())["path"])
    moved = tmp_path / "moved.safetensors"
    change(folder / "teacher.json", path=str(moved))
    found = drawn(folder)
    assert set(found.names) == {BASELINE, BEST} and not found.difficulty
    assert found.notes[0].startswith("The teacher is not among them: a teacher must be a teacher's file")
    shutil.copyfile(file, moved)
    assert TEACHER in drawn(folder).names


def test_plugins_are_run_only_where_that_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = folder / "ran"
    copies = folder / "plugins" / "kdstudy_plugins"
    copies.mkdir(parents=True)
    (copies / "attack.py").write_text(f"open({str(marker)!r}, 'w')")
    named = {"attack": {"path": str(copies / "attack.py"), "sha256": "0" * 64}}
    change(folder / "study.json", plugins=named)
    assert "--pictures" in why_not(folder)
    # nor by a checkpoint of a study that names none
    change(folder / "study.json", plugins={})
    monkeypatch.setattr(predicting, "named_plugins", lambda _: named)
    assert "--pictures" in why_not(folder)
    assert not marker.exists() and not (folder / FILE).exists()
    assert BEST in drawn(folder, plugins=True).names


def test_pictures_may_be_left_out(folder: Path) -> None:
    assert main(["report", str(folder), "--no-pictures"]) == 0
    page = (folder / "report.html").read_text()
    assert PICTURE not in page and "<strong>Pictures of predictions</strong> (They were not wanted)" in page
    assert not (folder / FILE).exists()
    assert PICTURE not in read(folder).report(folder / "api.html", pictures=False).read_text()
    assert PICTURE in read(folder).report(folder / "api.html").read_text()


def test_a_folder_that_cannot_be_written_has_pictures_and_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("study.commands.results.pictures.keep", full)
    drawn(folder)
    assert "the next report has to predict again" in capsys.readouterr().err


def test_too_little_memory_is_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predicting, "predict", short)
    assert why_not(folder).startswith("The memory of cpu does not suffice")

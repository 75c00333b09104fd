"""The first start of a study, and what `validate` says of one; no trial is run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.__main__ import main
from study.execution import runner

Writer = Callable[..., Path]


class LostError(Exception):
    """Of a kind that nobody expects."""


@pytest.mark.parametrize("error", [ValueError("no"), LostError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("begun", [False, True])
def test_a_start_that_fails_leaves_no_folder_in_the_way(
    error: BaseException, begun: bool, study_file: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, *_: object, **__: object) -> bool:
        if begun:
            (folder / "tables").mkdir()
        raise error

    monkeypatch.setattr("study.commands.searches.run.drive", fail)
    study = str(study_file(teacher__folder=str(tmp_path / "teachers")))
    try:
        main(["run", study, "--out", str(tmp_path / "run")])
    except LostError:
        assert isinstance(error, LostError)
    assert (tmp_path / "run").exists() == begun


def test_a_teacher_that_could_not_be_kept_is_not_trained(
    study_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "resume", lambda *_, **__: pytest.fail("it was started"))
    (tmp_path / "file").write_text("")
    for command in ("validate", "run", "teacher"):
        study = str(study_file(teacher__folder=str(tmp_path / "file" / "teachers")))
        assert main([command, study, *(["--out", str(tmp_path / "run")] if command != "validate" else [])]) == 2
        assert "teacher.folder must be a folder that can be written" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_warnings_are_said_and_do_not_fail(study_file: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(study_file(train__optimizer__lr=50, arms={"one": {"trials": 1}}))]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("tiny: no faults, but warnings\n")
    assert said.err.startswith("kdstudy: warning: arms.one: train.optimizer.lr should lie between")


def test_validate_says_what_is_recorded(study_file: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(study_file())]) == 0
    assert "\n  teacher's outputs: recorded once for all trials that read them, at most " in capsys.readouterr().out
    assert main(["validate", str(study_file(teacher__record="off"))]) == 0
    assert "teacher's outputs" not in capsys.readouterr().out


def test_warnings_stand_beside_faults(study_file: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"train__optimizer__lr": 50, "train__evaluate_every": 99, "arms": {"one": {"trials": 1}}}
    assert main(["validate", str(study_file(**changes))]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("kdstudy: warning: ") and second.startswith("kdstudy: arms.one: train.evaluate_every must")

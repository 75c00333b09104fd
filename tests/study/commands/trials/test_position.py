"""The position networks of a study's IDD arms, by the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.__main__ import main
from tests.study.conftest import write_teacher
from trainers.methods import position_training

Writer = Callable[..., Path]
FEW = {"idd": {"pretraining": {"iterations": 3, "batch": 2}}}
ARMS: dict[str, Any] = {
    "baseline": {"trials": 1, "space": "optimizer"},
    "idd": {"trials": 1, "space": "idd", "methods": FEW},
    "idd-rdd": {"trials": 1, "space": ["idd", "optimizer"], "task": {"weighting": "rdd"}, "methods": FEW},
    "distance": {
        "trials": 1,
        "space": "optimizer",
        "methods": FEW,
        "fixed": {"methods/idd/weights/position": 0},
    },
}


@pytest.fixture
def study(study_file: Writer, tmp_path: Path) -> str:
    file = write_teacher(tmp_path / "teachers" / "teacher.safetensors")
    return str(study_file(teacher={"file": str(file)}, arms=ARMS, train__iterations=2))


def test_it_is_trained_beside_the_teacher_and_tested(
    study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["position", study]) == 0
    (path,) = (tmp_path / "teachers").glob("teacher.position-*.safetensors")
    shown = capsys.readouterr().out.splitlines()
    # both arms need the same one; the third reads no positions
    assert [line.partition(":")[0] for line in shown] == ["idd", "idd-rdd"]
    assert shown[0].removeprefix("idd") == shown[1].removeprefix("idd-rdd")
    assert shown[0].endswith(f" {path}")
    assert "of the map's side on 8 validation images (a constant guess: 0.2" in shown[0]
    assert float(shown[0].split()[4]) > 0


def test_a_trial_of_the_study_finds_it(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["position", study, "--arm", "idd"]) == 0
    monkeypatch.setattr(position_training, "train", None)
    assert main(["train", study, "--arm", "idd", "--out", str(tmp_path / "trial")]) == 0


def test_longer_training_reads_better_than_a_guess(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["--set", "arms.idd.methods.idd.pretraining.iterations=60"]
    assert main(["position", study, "--arm", "idd", *sets]) == 0
    words = capsys.readouterr().out.split()
    assert float(words[4]) < 0.7 * float(words[words.index("guess:") + 1].rstrip("),"))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("baseline", "but baseline of tiny is none; add `methods: {idd: {}}`"),
        ("distance", "its weights.position above 0, but distance of tiny is none"),
        ("teacher", "but teacher of tiny is none"),
        ("iddd", "did you mean 'idd'?"),
    ],
)
def test_an_arm_that_reads_no_positions_is_refused(
    study: str, capsys: pytest.CaptureFixture[str], arm: str, message: str
) -> None:
    sets = [
        "--set",
        "teacher.model={architecture: deeplabv3}",
        "--set",
        "teacher.train={iterations: 2, batch: 2, evaluate_every: 1}",
    ]
    assert main(["position", study, "--arm", arm, *sets]) == 2
    assert message in capsys.readouterr().err


def test_a_study_without_such_an_arm_is_refused(study_file: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["position", str(study_file())]) == 2
    assert "but no arm of tiny is one" in capsys.readouterr().err


def test_the_teacher_comes_first(study_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_file(teacher__folder=str(tmp_path / "none"), arms=ARMS)
    assert main(["position", str(study)]) == 2
    assert "its teacher is not trained yet; first: kdstudy teacher" in capsys.readouterr().err

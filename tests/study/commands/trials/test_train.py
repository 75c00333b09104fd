"""One trial outside a study, by the command line: trained, gone on with, scored."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels
from safetensors.torch import load_file

from study.__main__ import main
from study.configuration.loading import load
from study.folder import create_study
from study.tables import TableWriter, trials_schema
from tests.study.conftest import ray_environment
from tests.trainers.trees import cityscapes_tree
from trainers import loop

Writer = Callable[..., Path]


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint_[0-9]*"))


@pytest.fixture
def trained(study_file: Writer, tmp_path: Path) -> Path:
    """The folder of a trial of the tiny study's baseline."""
    assert main(["train", str(study_file()), "--out", str(tmp_path / "trial")]) == 0
    return tmp_path / "trial"


def test_a_trial_is_trained_without_ray_and_goes_on_where_it_was_stopped(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = checkpoints(trained)[-1]
    assert last.name == "checkpoint_000000012"
    expected = load_file(last / "weights.safetensors")
    report = json.loads((last / "metrics.json").read_text())
    capsys.readouterr()
    # done already: the last report again, nothing trained
    untouched = last.stat().st_mtime_ns
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(trained)]) == 0
    assert f"eval/miou_percent: {report['eval/miou_percent']:.4f}\n" in capsys.readouterr().out
    assert last.stat().st_mtime_ns == untouched
    # as if stopped after the checkpoint before
    shutil.rmtree(last)
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(trained)]) == 0
    found = load_file(last / "weights.safetensors")
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_at_a_checkpoint_of_the_next_step(
    study_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:  # fmt: skip
    before = signal.getsignal(number)
    command = ["train", str(study_file(train__evaluate_every=12)), "--out", str(tmp_path / "trial")]
    step = loop.step

    def signalled(parts: Any, state: Any, *batch: Any) -> None:
        if state.iteration == 4:
            signal.raise_signal(number)
        step(parts, state, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "step", signalled)
        assert main(command) == 1
    said = capsys.readouterr().err
    assert said.endswith("kdstudy: stopped at iteration 5; the same command goes on from it\n")
    assert [path.name for path in (tmp_path / "trial").glob("*_0*")] == ["interim_000000005"]
    assert signal.getsignal(number) == before
    assert main(command) == 0
    assert [path.name for path in checkpoints(tmp_path / "trial")] == ["checkpoint_000000012"]


def test_a_folder_holds_one_trial(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = str(tmp_path / "tiny.yaml")
    assert main(["train", study, "--set", "seed=5", "--out", str(trained)]) == 2
    assert "holds another; choose another" in capsys.readouterr().err


def test_a_folder_of_an_earlier_version_holds_its_trial(trained: Path, tmp_path: Path) -> None:
    """Written before fields that came later, and before the memory format could be left to the device."""
    held = trained / "trial.json"
    before = held.read_text()
    values = json.loads(before)
    values["train"]["channels_last"] = False
    del values["evaluate_on"]
    held.write_text(json.dumps(values))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(trained)]) == 0
    assert held.read_text() == before


@pytest.mark.parametrize(
    ("arm", "message"),
    [("basline", "did you mean 'baseline'?"), ("rdd", "its teacher is not trained yet; first: kdstudy teacher")],
)
def test_an_arm_that_cannot_be_trained_is_refused(
    study_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str], arm: str, message: str
) -> None:
    folder = str(tmp_path / "teachers")
    arguments = ["train", str(study_file(teacher__folder=folder)), "--arm", arm, "--out", str(tmp_path / "trial")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_arm_that_distils_has_its_teacher(study_file: Writer, tmp_path: Path, teacher_file: Path) -> None:
    study = study_file(teacher={"file": str(teacher_file)}, train__iterations=4)
    assert main(["train", str(study), "--arm", "rdd", "--out", str(tmp_path / "trial")]) == 0
    trial = json.loads((tmp_path / "trial" / "trial.json").read_text())
    assert trial["teacher"]["path"] == str(teacher_file)
    report = json.loads((checkpoints(tmp_path / "trial")[-1] / "metrics.json").read_text())
    assert report["train/term/kd/pixel"] > 0


def test_the_configuration_in_a_checkpoint_can_be_run_again(trained: Path, tmp_path: Path) -> None:
    held = tmp_path / "again.yaml"
    held.write_text((checkpoints(trained)[-1] / "trial.json").read_text())
    assert main(["train", str(held), "--out", str(tmp_path / "again")]) == 0
    expected, found = (
        load_file(checkpoints(folder)[-1] / "weights.safetensors") for folder in (trained, tmp_path / "again")
    )
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


@pytest.mark.ray
def test_a_trial_of_a_study_is_trained_again_from_its_row(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = load(str(tmp_path / "tiny.yaml")), tmp_path / "run"
    create_study(config, folder)
    noon = datetime(2024, 5, 17, 12, tzinfo=UTC)
    row = {
        "arm": "baseline", "trial": 3, "state": "COMPLETE", "attempts": 1, "iterations": 12, "budget": 12,
        "seconds": 1.0, "gpu_seconds": 0.0, "config": (trained / "trial.json").read_text(), "config_hash": "",
        "started": noon, "ended": noon,
    }  # fmt: skip
    with TableWriter(folder / "tables", trials_schema({})) as writer:
        writer.append([row])
    again = tmp_path / "again"
    assert main(["train", str(folder), "--trial", "baseline-3", "--out", str(again)]) == 0
    expected, found = (load_file(checkpoints(place)[-1] / "weights.safetensors") for place in (trained, again))
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())
    # the best of one is that one: its folder holds it, and would refuse another
    assert main(["train", str(folder), "--trial", "best", "--out", str(again)]) == 0
    capsys.readouterr()
    assert main(["train", str(folder), "--trial", "baseline-4", "--out", str(tmp_path / "none")]) == 2
    assert "--trial must be a trial that ended, but baseline 4 is none" in capsys.readouterr().err


def test_one_ray_worker_trains_the_same_weights(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "study", "train", str(tmp_path / "tiny.yaml"), "--workers", "1", "--out", "ray"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ray_environment(), check=False)
    assert done.returncode == 0, done.stderr
    expected, found = (
        load_file(checkpoints(folder)[-1] / "weights.safetensors") for folder in (trained, tmp_path / "ray")
    )
    assert expected.keys() == found.keys()
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


@pytest.mark.ray
def test_a_ray_worker_passes_over_a_damaged_checkpoint(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "ray")
    damaged = checkpoints(tmp_path / "ray")[-1] / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    command = [sys.executable, "-m", "study", "train", str(tmp_path / "tiny.yaml"), "--workers", "1", "--out", "ray"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ray_environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ray" / "damaged_checkpoint_000000012").is_dir()
    expected, found = (
        load_file(checkpoints(folder)[-1] / "weights.safetensors") for folder in (trained, tmp_path / "ray")
    )
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


def test_workers_that_cannot_share_the_batch_are_refused_before_ray_starts(
    study_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(study_file()), "--workers", "3", "--out", str(tmp_path / "trial")]
    assert main(arguments) == 2
    assert "train.batch must be a multiple of train.workers" in capsys.readouterr().err


def test_a_checkpoint_is_scored_as_it_was_in_training(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = checkpoints(trained)[-1]
    capsys.readouterr()
    assert main(["evaluate", str(last), "--dataset", "streets", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    report = json.loads((last / "metrics.json").read_text())
    assert scores["miou_percent"] == pytest.approx(report["eval/miou_percent"], abs=1e-9)
    assert scores["images"] == 8
    ious = scores["class_iou_percent"]
    assert len(ious) == 11
    assert {n: v for n, v in ious.items() if v is not None} == pytest.approx(
        {n.removeprefix("eval/iou_percent/"): v for n, v in report.items() if n.startswith("eval/iou_percent/")}
    )


def test_a_teachers_file_is_scored_too(teacher_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # its card says 48 x 64, and with that the dataset's own number of images
    assert main(["evaluate", str(teacher_file), "--dataset", "streets", "--split", "val"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mIoU ") and len(shown.splitlines()) == 12


def test_looking_more_often_changes_the_score(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def score(*looks: str) -> float:
        capsys.readouterr()
        assert main(["evaluate", str(checkpoints(trained)[-1]), "--dataset", "streets", "--json", *looks]) == 0
        return float(json.loads(capsys.readouterr().out)["miou_percent"])

    once = score()
    assert score("--scales", "1") == once
    more = {
        score("--flip"),
        score("--scales", "0.5", "1", "1.5"),
        score("--window", "32", "40", "--stride", "20", "30"),
    }
    assert len({once, *more}) == 4


def test_predictions_of_cityscapes_test_split_are_written_as_label_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = cityscapes_tree(tmp_path / "data")
    trial = tmp_path / "trial.json"
    trial.write_text(
        json.dumps(
            {
                "data": {"name": "cityscapes", "root": str(tree.root)},
                "augment": {"crop": [16, 16]},
                "student": {"architecture": "pspnet", "backbone": "mobilenetv2_035"},
                "train": {"iterations": 1, "batch": 2, "evaluate_every": 1},
                "task": {"weighting": "uniform"},
            }
        )
    )
    assert main(["train", str(trial), "--out", str(tmp_path / "trial")]) == 0
    evaluate = ["evaluate", str(checkpoints(tmp_path / "trial")[-1]), "--dataset", "cityscapes", "--split", "test"]
    for kind in ("ids", "colour"):
        capsys.readouterr()
        export = ["--root", str(tree.root), "--export", str(tmp_path / kind), "--as", kind]
        assert main([*evaluate, *export]) == 0
        assert capsys.readouterr().out.startswith("1 images predicted; test has no published labels, so nothing is")
        assert [path.name for path in (tmp_path / kind).iterdir()] == ["berlin_000000_000019.png"]
    ids, colours = (
        cv2.imread(str(tmp_path / kind / "berlin_000000_000019.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("ids", "colour")
    )
    assert ids.shape == (18, 24) and colours.shape == (18, 24, 3)
    known = {label.id: label.color for label in labels if not label.ignoreInEval}
    assert set(np.unique(ids)) <= known.keys()
    np.testing.assert_array_equal(
        colours[..., ::-1], np.array([[known[value] for value in row] for row in ids.tolist()])
    )
    assert main([*evaluate, "--root", str(tree.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["miou_percent"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", "--dataset", "street"], "did you mean 'streets'?"),
        (["{file}", "--dataset", "camvid"], "data.root must be CamVid's folder"),
        (["{file}", "--dataset", "streets", "--scales", "0"], "scales.0: input should be greater than 0, but got 0"),
        (
            ["{file}", "--dataset", "streets", "--window", "9", "9", "--stride", "10", "9"],
            "a stride must be that",
        ),
        (["{file}", "--dataset", "streets", "--stride", "5", "5"], "a stride must be that"),
        (["{file}", "--dataset", "streets", "--export", "{file}"], "name another path"),
        (["{folder}", "--dataset", "streets"], "name a checkpoint_... folder of a trial"),
        (["{folder}/none", "--dataset", "streets"], "name a checkpoint_... folder of a trial"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    arguments: list[str], message: str, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part.format(file=teacher_file, folder=tmp_path) for part in arguments]
    assert main(["evaluate", *given]) == 2
    written = capsys.readouterr()
    assert message in written.err and written.out == ""

"""A study's trial becomes a folder that says what it is, and that anyone can score and load. No cluster is started."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from study import tables
from study.__main__ import main
from study.commands.trials import export
from study.commands.trials.deployment import deployment
from study.configuration.config import StudyConfig
from study.configuration.loading import load
from study.execution.recording import recorder
from study.execution.recording.environment import environment
from study.folder import create_study
from tests.study.conftest import tiny, write_study, write_teacher
from tests.study.execution.recording.test_recorder import Driver
from tests.study.test_light_commands import loaded
from trainers.checkpoints.folder import FolderCheckpoints
from trainers.checkpoints.reading import read_student
from trainers.config import TeacherFile, TrialConfig, parse
from trainers.context import LocalContext
from trainers.data import streets
from trainers.data.transforms import Normalisation
from trainers.difficulty import upsample
from trainers.loop import train
from trainers.models import deeplabv3
from trainers.teachers import teacher

NAMES = streets.Dataset.class_names


def trained_study(config: StudyConfig, folder: Path, file: TeacherFile) -> None:
    """One trial in each arm, trained to its end, and a second one of the baseline that was stopped early."""
    create_study(config, folder)
    driver = Driver(config, folder)
    driver.searcher._teacher = lambda: file
    for state in ("final", "final", "stopped"):
        trial = driver.start()
        context = LocalContext(Path(trial.config["folder"]), place=trial.config["checkpoints"])
        metrics = dict(train(parse(TrialConfig, trial.config["trial"]), context))
        driver.result(trial, **{**metrics, **({state: True} if state == "final" else {})})
        driver.recorder.on_trial_complete(0, [], trial)
    driver.tables.add_start(environment({}))
    driver.tables.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a study."""
    place = tmp_path_factory.mktemp("export")
    file = write_teacher(place / "teacher.safetensors")
    values = tiny(teacher={"file": str(file)}, train__iterations=4, train__evaluate_every=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
        torch.set_num_threads(1)
        found = TeacherFile(path=str(file), sha256=teacher.sha256(file))
        trained_study(load(str(write_study(place, values))), place / "run", found)
    return place / "run"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The study, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read(folder / "tables", "trials").to_pylist()
    return found


def images() -> torch.Tensor:
    return torch.randint(256, (1, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def scored(path: Path, capsys: pytest.CaptureFixture[str]) -> float:
    capsys.readouterr()
    assert main(["evaluate", str(path), "--dataset", "streets", "--json"]) == 0
    return float(json.loads(capsys.readouterr().out)["miou_percent"])


def test_the_best_trial_is_exported_and_scores_what_it_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder)]) == 0
    complete = [row for row in rows(folder) if row["state"] == "COMPLETE"]
    best = max(complete, key=lambda row: row["last_miou_percent"])
    out = folder / "exports" / f"{best['arm']}-{best['trial']:05d}"
    assert capsys.readouterr().out == f"written to {out}\n"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "student.safetensors"]
    for exported in (out / "student.safetensors", out):
        assert scored(exported, capsys) == pytest.approx(best["last_miou_percent"], abs=1e-9)


def test_python_loads_it_as_the_card_says(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["export", str(folder), "--trial", "rdd-0", "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    program = card.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {"images": images()}
    exec(program, names)
    checkpoint = FolderCheckpoints(folder / "trials" / "rdd-00000").of(4)
    _, weights = read_student(checkpoint)
    loaded = names["student"].network.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in weights.items())
    assert names["logits"].shape[:2] == (1, len(NAMES))


def test_the_card_tells_where_it_comes_from(folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(folder), "--trial", "0", "--arm", "rdd", "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    said = dict(
        line.strip("| ").split(" | ", 1) for line in card.splitlines() if line.startswith("| ") and "| |" not in line
    )
    (row,) = [row for row in rows(folder) if (row["arm"], row["trial"]) == ("rdd", 0)]
    assert (said["study"], said["arm"]) == ("tiny", "rdd")
    assert said["trial"] == "0, COMPLETE after 4 of 4 iterations"
    assert said["configuration"] == f"sha256 {row['config_hash']}"
    assert said["val mIoU, last evaluation"] == f"{row['last_miou_percent']:.2f} %"
    assert said["val mIoU, best evaluation"].startswith(f"{row['best_miou_percent']:.2f} %")
    assert said["teacher"] == f"sha256 {json.loads(row['config'])['teacher']['sha256']}"
    assert said["torch"] == torch.__version__.partition("+")[0]
    assert '"name": "streets"' in said["dataset"] and '"temperature"' in said["distillation"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["trial"]["train"]["iterations"] == 4
    assert config["network"]["trained_by"] == row["config_hash"]
    # where things lay is nobody's business
    assert str(folder.parent) not in card + json.dumps(config)
    assert json.loads(row["config"])["teacher"]["path"] not in card + json.dumps(config)


def session(path: Path) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(onnx.load(path))
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_the_onnx_file_takes_images_of_any_number_and_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder), "--trial", "baseline-0", "--onnx", "--out", str(tmp_path / "out")]) == 0
    assert "warning" not in capsys.readouterr().err
    written = session(tmp_path / "out" / "student.onnx")
    assert json.loads(written.get_modelmeta().custom_metadata_map["class_names"]) == list(NAMES)
    assert [entry.shape for entry in written.get_inputs()] == [["batch", 3, "height", "width"]]
    assert [entry.shape for entry in written.get_outputs()] == [["batch", len(NAMES), "height", "width"]]
    student = teacher.load(tmp_path / "out" / "student.safetensors", class_names=NAMES)
    for batch, height, width in ((1, 48, 64), (3, 48, 64), (1, 61, 90), (2, 61, 90)):
        values = torch.randint(256, (batch, 3, height, width), dtype=torch.uint8)
        (found,) = written.run(["logits"], {"images": values.float().numpy()})
        expected = upsample(student(values)["logits"], (height, width)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "(opset 18)" in card and "float32 [batch, 3, height, width]" in card and "align_corners=True" in card
    program = card.rpartition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {"images": images().float().numpy()}
    exec(program, names)
    assert names["classes"].shape == (1, 48, 64)


def test_the_onnx_file_may_leave_logits_at_the_networks_stride(folder: Path, tmp_path: Path) -> None:
    arguments = ["export", str(folder), "--trial", "baseline-0", "--onnx", "--no-upsample"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    (found,) = session(tmp_path / "out" / "student.onnx").run(None, {"images": images().float().numpy()})
    student = teacher.load(tmp_path / "out" / "student.safetensors", class_names=NAMES)
    expected = student(images())["logits"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
    assert "[batch, 11, rows, columns], at the network's own stride" in (tmp_path / "out" / "README.md").read_text()


def test_what_a_deployer_needs_is_written_as_text(folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(folder), "--trial", "baseline-0", "--out", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "config.json").read_text())["deployment"]
    assert told["images"]["channels"] == "RGB"
    assert (told["images"]["mean"], told["images"]["std"]) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert told["class_names"] == list(NAMES) and told["onnx"] is None
    assert told["logits"]["to_image_size"] == {"mode": "bilinear", "align_corners": True}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "channels are RGB" in card and "mean 123.675, 116.28, 103.53 and std 58.395, 57.12, 57.375" in card
    assert all(f"| {index} | {name} |" in card for index, name in enumerate(NAMES))


def test_means_of_a_network_that_sees_bgr_are_told_in_that_order(folder: Path) -> None:
    seen = Normalisation(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), bgr=True)
    card = teacher.TeacherCard(model=deeplabv3.Config(), class_names=("a", "b"), normalisation=seen)
    told = deployment(card, None)["images"]
    values = torch.randint(256, (1, 3, 2, 2), dtype=torch.uint8)
    turned = values.flip(1).double()
    mean, std = (torch.tensor(told[name], dtype=torch.float64).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close((turned - mean) / std, seen(values, torch.float64))
    assert told["channels"] == "BGR"


def test_what_is_written_may_be_read_as_other_files(folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(folder), "--trial", "baseline-0", "--out", str(tmp_path / "out")]) == 0
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in (*(tmp_path / "out").iterdir(), tmp_path / "plain")}
    assert len(modes) == 1


def test_without_the_package_onnx_it_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert main(["export", str(folder), "--onnx", "--out", str(tmp_path / "out")]) == 2
    assert (
        "--onnx needs the package onnxscript, which is not here; pip install 'kdstudy[onnx]'" in capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Undecided(nn.Module):
    """What cannot be exported: its shape depends on what it sees."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": images if bool(images.sum() > 0) else images[..., :8, :8]}


def test_a_network_that_cannot_be_written_as_onnx_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student = export.student
    monkeypatch.setattr(export, "student", lambda path: (student(path)[0], Undecided(), student(path)[2]))
    assert main(["export", str(folder), "--onnx", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("kdstudy: PyTorch cannot write this network as ONNX (")
    assert said.endswith("); leave out --onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_checkpoint_is_passed_over_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = map(Path, FolderCheckpoints(folder / "trials" / "rdd-00000").all())
    (last / "state.pt").write_bytes(b"")
    assert main(["export", str(folder), "--trial", "rdd-0", "--out", str(tmp_path / "out")]) == 0
    assert f"{last / 'state.pt'} must have " in (said := capsys.readouterr().err)
    assert f"{first} is exported instead" in said
    assert "| checkpoint | iteration 2, " in (tmp_path / "out" / "README.md").read_text()
    (first / "metrics.json").unlink()
    assert main(["export", str(folder), "--trial", "rdd-0", "--out", str(tmp_path / "none")]) == 2
    assert "a trial must have a whole checkpoint to be exported, but " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--trial", "rdd-7"],
            "--trial must be a trial that ended, but rdd 7 is none; there are some of baseline, rdd",
        ),
        (["--trial", "0"], "--trial must be ARM-N, or N with --arm ARM, but got '0'"),
        (["--trial", "rdd"], "--trial must be ARM-N, or N with --arm ARM, but got 'rdd'"),
        (["--trial", "rdd-0", "--arm", "baseline"], "--trial must be ARM-N, or N with --arm ARM, but got 'rdd-0'"),
        (["--arm", "kd"], "--arm must be an arm of the study, but got 'kd'"),
        (["--out", "{folder}"], "--out must be a new folder, but {folder} is not empty"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert main(["export", str(folder), *(part.format(folder=folder) for part in arguments)]) == 2
    assert message.format(folder=folder) in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_folder_without_a_study_or_without_an_ended_trial_is_refused(
    tmp_path: Path, config: Callable[..., StudyConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "nowhere")]) == 2
    assert "DIR must be a study's folder" in capsys.readouterr().err
    create_study(config(), tmp_path / "new")
    assert main(["export", str(tmp_path / "new")]) == 2
    assert "a trial must have ended to be asked for, but none has in" in capsys.readouterr().err


def test_an_export_needs_no_ray(folder: Path) -> None:
    printed, modules = loaded(["export", str(folder)])
    assert "written to" in printed
    assert "torch" in modules and "ray" not in modules


class OfOneSize(nn.Module):
    """What can be exported for one size alone: it counts on it."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        assert int(images.shape[2]) in (48, 49)
        return {"logits": images.flatten(2).view(-1, 3, 48, images.shape[3] * images.shape[2] // 48)}


def test_a_network_of_one_size_is_written_for_it_and_that_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student = export.student
    monkeypatch.setattr(export, "student", lambda path: (student(path)[0], OfOneSize(), student(path)[2]))
    assert main(["export", str(folder), "--onnx", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert (
        "warning: student.onnx is for images of 48x64 alone, because this network cannot be written for any size"
        in said
    )
    written = session(tmp_path / "out" / "student.onnx")
    assert [entry.shape for entry in written.get_inputs()] == [["batch", 3, 48, 64]]
    (found,) = written.run(None, {"images": np.zeros((2, 3, 48, 64), np.float32)})
    assert found.shape == (2, 3, 48, 64)
    assert "Images of another size have to be resized before." in (tmp_path / "out" / "README.md").read_text()

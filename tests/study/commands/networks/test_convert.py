import json
from pathlib import Path
from typing import Any

import pytest
import torch

from study.__main__ import main
from study.configuration.config import StudyConfig
from study.execution.teacher import StudyTeacher
from trainers import models
from trainers.data import streets
from trainers.models import SegmentationNetwork, named
from trainers.models.cirkd_layout import published_names
from trainers.teachers import teacher

MODEL = "deeplabv3(mobilenetv2_100, head_channels=16, aux=False)"
NAMES = streets.Dataset.class_names
IMAGES = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return models.build(named(MODEL), num_classes=len(NAMES)).eval()


@pytest.fixture(scope="module")
def checkpoint(network: SegmentationNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As CIRKD and RDD save: DataParallel's names."""
    path = tmp_path_factory.mktemp("published") / "teacher.pth"
    tensors = network.state_dict()
    names = published_names(tensors, named(MODEL))
    torch.save({f"module.{names[name]}": tensor for name, tensor in tensors.items()}, path)
    return path


def convert(checkpoint: Path, out: Path, *more: str, model: str = MODEL) -> int:
    return main(["convert", str(checkpoint), "--from", "cirkd", "--model", model, "--out", str(out), *more])


def test_a_published_checkpoint_becomes_a_teacher(
    checkpoint: Path, network: SegmentationNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "teacher.safetensors"
    assert convert(checkpoint, out, "--dataset", "streets") == 0
    assert capsys.readouterr().out == f"{out}: {MODEL}, 11 classes, mIoU not measured\n"
    taught = teacher.load(out, class_names=NAMES)
    bgr = IMAGES.flip(1).float() - torch.tensor([104.00698793, 116.66876762, 122.67891434]).view(3, 1, 1)
    with torch.no_grad():
        expected = network(bgr)
    for name, tap in taught(IMAGES).items():
        torch.testing.assert_close(tap, expected[name], rtol=1e-5, atol=1e-5 * float(expected[name].abs().max()))
    card = taught.card
    assert (card.class_names, card.data, card.converted_from) == (NAMES, streets.Config(), teacher.sha256(checkpoint))
    assert (card.miou_percent, card.probe_miou_percent, card.trained_by) == (None, None, None)
    assert teacher.probe(taught, streets.Dataset(streets.Config(size=(32, 48)), "val")) is None


def test_the_dataset_may_be_described_in_a_file(checkpoint: Path, tmp_path: Path) -> None:
    described = tmp_path / "data.yaml"
    described.write_text(f"data: {{name: folder, root: mine, images: a, labels: b, classes: {list(NAMES)}}}")
    assert convert(checkpoint, tmp_path / "out.safetensors", "--dataset", str(described)) == 0
    card = teacher.load(tmp_path / "out.safetensors", class_names=NAMES).card
    assert card.class_names == NAMES and card.data.classes == NAMES


def test_without_a_dataset_the_classes_have_no_names(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "teacher.safetensors"
    assert convert(checkpoint, out) == 0
    taught = teacher.load(out, class_names=NAMES)
    assert (taught.card.class_names, taught.card.data) == ((None,) * 11, None)
    assert teacher.probe(taught, streets.Dataset(streets.Config(size=(32, 48)), "val")) is None
    capsys.readouterr()
    assert main(["evaluate", str(out), "--dataset", "streets", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["class_iou_percent"]) == list(NAMES)


def test_a_study_takes_it_and_says_that_its_score_is_not_measured(
    checkpoint: Path, tmp_path: Path, config: Any
) -> None:
    out = tmp_path / "teacher.safetensors"
    assert convert(checkpoint, out, "--dataset", "streets") == 0
    study: StudyConfig = config(teacher={"file": str(out)})
    said: list[str] = []
    taught = StudyTeacher(study, tmp_path, said.append)
    assert said == [f"teacher: mIoU not measured, {out}"]
    taught._compare(50.0)
    assert len(said) == 1
    assert json.loads((tmp_path / "teacher.json").read_text())["miou_percent"] is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classifier.weight", float("inf"), "weights must be finite, but in"),
        ("encoder.stages.bn1.running_var", -1.0, "outputs must be finite, but those of the weights in"),
    ],
)
def test_a_checkpoint_that_is_not_finite_is_refused(
    name: str,
    value: float,
    message: str,
    network: SegmentationNetwork,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors[name].fill_(value)
    names = published_names(tensors, named(MODEL))
    torch.save({"model": {names[name]: tensor for name, tensor in tensors.items()}}, tmp_path / "teacher.pth")
    assert convert(tmp_path / "teacher.pth", tmp_path / "out.safetensors") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


class Anything:
    """What a pickle may hold and a checkpoint may not."""


def test_nothing_but_tensors_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Anything()}, tmp_path / "teacher.pth")
    assert convert(tmp_path / "teacher.pth", tmp_path / "out.safetensors") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'teacher.pth'} must hold tensors and plain containers alone" in said
    assert "weights_only=False" not in said
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": "none.pth"}, "the checkpoint must be a file, but there is no none.pth;"),
        ({"dataset": "street"}, "trainers/data has no 'street'; did you mean 'streets'?"),
        ({"model": "deeplabv4(resnet18)"}, "did you mean 'deeplabv3'?"),
        ({"model": "deeplabv3(resnet18"}, "a network "),
        ({"model": "deeplabv3(mobilenetv2_100, aux=maybe)"}, "aux: input should be a valid boolean"),
        ({"model": "deeplabv3(resnet18)"}, "'pretrained.conv1.weight' of shape [64, 3, 3, 3] is missing (and"),
        ({"out": "."}, "--out must be the .safetensors file to write, but . is a folder;"),
    ],
)
def test_wrong_input_is_refused(
    arguments: dict[str, str], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"checkpoint": checkpoint, "out": tmp_path / "out.safetensors", "model": MODEL, **arguments}
    more = ["--dataset", given["dataset"]] if "dataset" in given else []
    assert convert(given["checkpoint"], given["out"], *more, model=given["model"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_other_classes_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streets.Dataset, "class_names", ("road", "sky"))
    assert convert(checkpoint, tmp_path / "out", "--dataset", "streets") == 2
    assert "streets has 2 and" in (said := capsys.readouterr().err) and "predicts 11;" in said

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.trainers import small
from trainers.config import identity
from trainers.data import streets
from trainers.evaluation.evaluation import evaluate
from trainers.models import deeplabv3
from trainers.teachers import teacher

NAMES = streets.Dataset.class_names
MODEL = deeplabv3.Config(backbone="mobilenetv2_035", head_channels=16, rates=(2, 4))
IMAGES = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.teacher_file(tmp_path_factory.mktemp("teacher") / "below" / "teacher.safetensors")


@pytest.fixture
def loaded(written: Path) -> teacher.Teacher:
    return teacher.load(written, class_names=NAMES)


def test_what_is_saved_is_read(written: Path, loaded: teacher.Teacher) -> None:
    card = teacher.read_card(written)
    assert card == loaded.card
    assert (card.model, card.class_names, card.data) == (MODEL, NAMES, streets.Config(size=(32, 48)))
    assert (card.miou_percent, card.probe_miou_percent, card.trained_by) == (1.5, 1.25, "0" * 64)
    assert [path.name for path in written.parent.iterdir()] == ["teacher.safetensors"]
    again = written.with_name("again")
    teacher.save(loaded.network, card, again)
    assert teacher.sha256(again) == teacher.sha256(written)
    again.unlink()


def test_it_gives_the_networks_taps_for_plain_images(loaded: teacher.Teacher) -> None:
    taps = loaded(IMAGES)
    assert {name: tap.shape[1] for name, tap in taps.items()} == loaded.channels
    expected = loaded.network(loaded.card.normalisation(IMAGES))
    assert all(torch.equal(taps[name], expected[name]) for name in taps)


def test_a_head_that_is_not_wanted_does_not_run(loaded: teacher.Teacher) -> None:
    ran: list[object] = []
    loaded.network.get_submodule("aux").register_forward_hook(lambda *_: ran.append(1))
    some, whole = loaded(IMAGES, wanted={"logits"}), loaded(IMAGES)
    assert ran == [1] and "aux" not in some
    assert all(torch.equal(tap, whole[name]) for name, tap in some.items())


def test_the_taps_of_a_teacher_are_known_without_its_weights(loaded: teacher.Teacher) -> None:
    assert teacher.channels(loaded.card) == loaded.channels


def test_it_stays_in_eval_mode_and_gets_no_gradient(loaded: teacher.Teacher) -> None:
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    taps = torch.nn.ModuleList([loaded]).train()[0](IMAGES)
    assert not any(module.training for module in loaded.modules())
    assert not any(tap.requires_grad for tap in taps.values())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def unnamed(path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, path)


def misshapen(path: Path) -> None:
    small.teacher_file(path, model=dataclasses.replace(MODEL, head_channels=24))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, r"must be a teacher's file, but there is no .*; write one with"),
    "truncated": (truncate, r"must be a readable teacher's file, but is corrupt: .*; write one with"),
    "empty": (lambda path: path.write_bytes(b""), r"but is corrupt: .*; write one with"),
    "no card": (unnamed, r"must say what network it holds, but has no teacher's card; write one with"),
    "other network": (misshapen, r"weights must fit the network, but in .* has \[.*; name the network"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_teacher_is_refused(tmp_path: Path, fault: str) -> None:
    path = small.teacher_file(tmp_path / "spoilt.safetensors")
    spoil, said = FAULTS[fault]
    spoil(path)
    with pytest.raises(ValueError, match=said) as caught:
        teacher.load(path, class_names=NAMES)
    assert str(path) in str(caught.value)


def test_a_card_of_an_unknown_network_is_refused(tmp_path: Path) -> None:
    text = '{"model": {"architecture": "deeplabv4"}}'
    save_file({"weight": torch.zeros(1)}, tmp_path / "later", metadata={"kdstudy_teacher": text})
    with pytest.raises(ValueError, match=r"the card of .*later must be readable, but: .*'deeplabv4'.*[\s\S]*; write"):
        teacher.read_card(tmp_path / "later")


def test_a_card_from_before_conversions_is_read(written: Path, tmp_path: Path) -> None:
    card = teacher.read_card(written)
    told = identity(card)
    del told["converted_from"]
    save_file({"weight": torch.zeros(1)}, tmp_path / "earlier", metadata={"kdstudy_teacher": json.dumps(told)})
    assert teacher.read_card(tmp_path / "earlier") == card


def test_a_rounded_teacher_is_what_its_file_holds(loaded: teacher.Teacher, tmp_path: Path) -> None:
    trained = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    teacher.round_weights(loaded.network, "float16")
    card = dataclasses.replace(loaded.card, stored="float16")
    teacher.save(loaded.network, card, tmp_path / "half")
    read = teacher.load(tmp_path / "half", class_names=NAMES)
    kept = read.network.state_dict()
    assert read.card == card
    assert all(torch.equal(taps, read(IMAGES)[name]) for name, taps in loaded(IMAGES).items())
    for name, parameter in read.network.named_parameters():
        assert parameter.dtype == torch.float32 and torch.equal(parameter, trained[name].half().float())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in trained.items())
    assert all(torch.equal(kept[name], tensor) for name, tensor in trained.items() if "running" in name)
    teacher.save(loaded.network, loaded.card, tmp_path / "whole")
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size


def test_a_weight_that_half_precision_cannot_hold_is_refused(loaded: teacher.Teacher) -> None:
    with torch.no_grad():
        next(loaded.network.parameters()).view(-1)[0] = 1e6
    with pytest.raises(
        ValueError, match=r"weights must fit float16, but .* reaches 1e\+06; store the teacher in float32"
    ):
        teacher.round_weights(loaded.network, "float16")


def test_another_number_of_classes_is_refused(written: Path) -> None:
    with pytest.raises(ValueError, match=r"same classes, but .* for 11 and the dataset has 2; train a teacher"):
        teacher.load(written, class_names=("road", "sky"))


def test_another_file_than_the_trials_is_refused(written: Path) -> None:
    assert teacher.load(written, class_names=NAMES, expected_sha256=teacher.sha256(written))
    with pytest.raises(ValueError, match=r"sha256 abcdabcdabcd\), but is .*; put the original file back"):
        teacher.load(written, class_names=NAMES, expected_sha256="abcd" * 16)


def test_the_probe_tells_what_does_not_fit(loaded: teacher.Teacher) -> None:
    data = streets.Dataset(streets.Config(size=(32, 48), val_images=10), "val")
    scored = evaluate(
        loaded.network, data, normalisation=loaded.card.normalisation, device=torch.device("cpu"), images=8
    ).miou_percent
    loaded.card = dataclasses.replace(loaded.card, probe_miou_percent=scored)
    assert teacher.probe(loaded, data) is None
    loaded.card = dataclasses.replace(loaded.card, probe_miou_percent=scored + 10)
    assert f"scores {scored:.1f} mIoU" in str(teacher.probe(loaded, data))
    loaded.card = dataclasses.replace(loaded.card, class_names=NAMES[::-1], probe_miou_percent=scored)
    assert "perhaps in another order" in str(teacher.probe(loaded, data))


def with_value(loaded: teacher.Teacher, path: Path, name: str, value: float) -> Path:
    """The teacher's file with a tensor of its network filled."""
    loaded.network.state_dict()[name].fill_(value)
    teacher.save(loaded.network, loaded.card, path)
    return path


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classifier.weight", float("nan"), "weights must be finite, but in .* 'classifier.weight' has NaN"),
        ("encoder.stages.bn1.running_var", -1.0, "outputs must be finite, but those of the weights in"),
    ],
)
def test_a_teacher_that_is_not_finite_is_refused(
    name: str, value: float, message: str, loaded: teacher.Teacher, tmp_path: Path
) -> None:
    path = with_value(loaded, tmp_path / "teacher.safetensors", name, value)
    with pytest.raises(ValueError, match=message):
        teacher.load(path, class_names=NAMES)


@pytest.mark.parametrize("weights", ["timm", "/gone/weights.pth"])
def test_a_teacher_is_read_without_what_its_training_began_with(
    weights: str, loaded: teacher.Teacher, tmp_path: Path
) -> None:
    card = dataclasses.replace(loaded.card, model=dataclasses.replace(MODEL, weights=weights))
    teacher.save(loaded.network, card, tmp_path / "teacher.safetensors")
    again = teacher.load(tmp_path / "teacher.safetensors", class_names=NAMES)
    assert again.card == card and teacher.channels(card) == loaded.channels
    assert all(torch.equal(tap, loaded(IMAGES)[name]) for name, tap in again(IMAGES).items())


def test_others_may_read_a_teacher_as_other_files(loaded: teacher.Teacher, tmp_path: Path) -> None:
    teacher.save(loaded.network, loaded.card, tmp_path / "teacher.safetensors")
    (tmp_path / "plain").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.trainers import small
from trainers.checkpoint import TrainState
from trainers.config import OptimizerConfig
from trainers.context import LocalContext
from trainers.data import streets
from trainers.distillation.pretraining import pretraining_data
from trainers.loop import train
from trainers.methods import PretrainingData, idd, position_training
from trainers.methods.position_network import Pretraining
from trainers.models import Taps
from trainers.registry import module_of

CHANNELS = 16
"""Of the features of the small networks."""
RECIPE = Pretraining(depth=1, iterations=4, batch=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def data_of(teacher: Path, **changes: Any) -> PretrainingData:
    config = small.trial({"teacher/path": str(teacher), **small.READING, **changes})
    data = module_of(config.data).Dataset(config.data, "train")
    return pretraining_data(config, data, torch.device("cpu"))


def own(teacher: Path, folder: Path) -> Path:
    """A copy of the teacher's file in a folder of its own."""
    return Path(shutil.copy(teacher, folder / "teacher.safetensors"))


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()
    )


def kept(teacher: Path) -> list[Path]:
    """Everything beside the teacher's file."""
    return sorted(path for path in teacher.parent.iterdir() if path != teacher)


def ramps(images: Tensor) -> Taps:
    """Features of a 9 x 11 grid in which positions are mixed with noise."""
    noise = torch.randn(len(images), 6, 9, 11, generator=torch.Generator().manual_seed(int(images.sum())))
    across = torch.linspace(-1, 1, 11).expand(9, 11)
    down = torch.linspace(-1, 1, 9)[:, None].expand(9, 11)
    return {"features": noise + torch.stack([3 * across, 3 * down, across - down, *3 * [0 * down]])}


def noise(images: Tensor) -> Taps:
    """Features in which there are no positions."""
    generator = torch.Generator().manual_seed(int(images.sum()))
    return {"features": torch.randn(len(images), 6, 9, 11, generator=generator)}


def numbered(iterations: int, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
    for iteration in range(iterations):
        images = torch.full((batch, 3, 1, 1), iteration, dtype=torch.int64)
        yield images, torch.zeros(batch, 1, 1, dtype=torch.int64)


@pytest.mark.parametrize(("features", "learns"), [(ramps, True), (noise, False)])
def test_it_learns_to_read_positions_that_are_there(features: Callable[[Tensor], Taps], learns: bool) -> None:
    given = PretrainingData(
        teacher=features,
        batches=numbered,
        identity={},
        teacher_file=Path("none"),
        device=torch.device("cpu"),
    )
    recipe = Pretraining(hidden_channels=8, iterations=150, batch=4, optimizer=OptimizerConfig(name="adamw", lr=0.01))
    network = position_training.train(recipe, 6, given)
    read = position_training.read_out(network, given, images=20)
    assert read.constant == pytest.approx((0.3 / 1.1 + 2.5 / 9) / 2, abs=1e-6)  # of 11 and of 9 places
    assert (read.error < 0.4 * read.constant) == learns
    assert read.error > 0.9 * read.constant or learns


def test_a_real_teachers_features_carry_positions_by_their_padding(teacher: Path) -> None:
    given = data_of(teacher, **{"augment/crop": [64, 96]})
    network = position_training.train(dataclasses.replace(RECIPE, depth=2, iterations=60, batch=4), CHANNELS, given)
    read = position_training.read_out(network, given, images=5)
    assert read.error < 0.6 * read.constant


def test_it_is_a_pure_function_of_what_it_learns_from(teacher: Path) -> None:
    def trained(recipe: Pretraining = RECIPE, **changes: Any) -> torch.nn.Module:
        return position_training.train(recipe, CHANNELS, data_of(teacher, **changes))

    first = trained()
    others = {"init_seed": 5, "train/batch": 4, "train/precision": "float64", "student/head_channels": 8}
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.rand(7)
    again = trained(**others)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert same(first, again)
    assert not any(module.training for module in first.modules())
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert not same(first, trained(data_seed=1))
    assert not same(first, trained(dataclasses.replace(RECIPE, batch=3)))


def test_every_part_of_what_decides_it_is_in_its_files_name(teacher: Path, tmp_path: Path) -> None:
    moved = own(teacher, tmp_path)
    other = small.teacher_file(tmp_path / "other.safetensors", miou_percent=2.0)
    paths = [
        position_training.kept_at(recipe, data_of(file, **changes))
        for recipe, file, changes in (
            (RECIPE, moved, {}),
            (dataclasses.replace(RECIPE, iterations=5), moved, {}),
            (RECIPE, moved, {"data_seed": 1}),
            (RECIPE, moved, {"augment/flip": False}),
            (RECIPE, moved, {"data/train_images": 4}),
            (RECIPE, other, {}),
        )
    ]
    assert len({path.name.split("position-")[1] for path in paths}) == 6
    assert paths[0].parent == tmp_path
    assert paths[0].name == position_training.kept_at(RECIPE, data_of(teacher)).name
    assert len(paths[0].name) == len("teacher.position-123456789abc.safetensors")


def test_it_is_trained_once_and_kept_beside_the_teacher(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = data_of(own(teacher, tmp_path))
    first = position_training.learned(RECIPE, CHANNELS, given)
    assert kept(given.teacher_file) == [position_training.kept_at(RECIPE, given)]
    monkeypatch.setattr(position_training, "train", None)
    again = position_training.learned(RECIPE, CHANNELS, given)
    assert same(first, again)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert not any(module.training for module in again.train().modules())


def test_two_that_train_it_at_once_write_the_same(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, training = data_of(own(teacher, tmp_path)), position_training.train
    inner = []

    def while_another_does(*arguments: Any) -> Any:
        monkeypatch.setattr(position_training, "train", training)
        inner.append(position_training.learned(*arguments))
        return training(*arguments)

    monkeypatch.setattr(position_training, "train", while_another_does)
    outer = position_training.learned(RECIPE, CHANNELS, given)
    assert same(inner[0], outer)
    assert kept(given.teacher_file) == [position_training.kept_at(RECIPE, given)]
    assert same(position_training.learned(RECIPE, CHANNELS, given), outer)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_another_recipe(path: Path) -> None:
    card = {**data_of(path.with_name("teacher.safetensors")).identity, "recipe": {"depth": 9}}
    save_file(load_file(path), path, metadata={position_training.CARD: json.dumps(card)})


def unnamed(path: Path) -> None:
    save_file(load_file(path), path)


def misshapen(path: Path) -> None:
    teacher = data_of(path.with_name("teacher.safetensors"))
    card = json.dumps({**teacher.identity, "recipe": json.loads(json.dumps(dataclasses.asdict(RECIPE)))})
    save_file({"layers.0.weight": torch.zeros(1)}, path, metadata={position_training.CARD: card})


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, r"but cannot be read: .*; remove it"),
    "another recipe": (of_another_recipe, r"but its card says another recipe; remove it"),
    "no card": (unnamed, r"its card says another teacher, data, augment, data_seed, recipe; remove it"),
    "misshapen": (misshapen, r"weights must fit the network, but in .* 'layers.0.weight' of shape"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_kept_file_that_does_not_fit_is_refused(teacher: Path, tmp_path: Path, fault: str) -> None:
    given = data_of(own(teacher, tmp_path))
    path = position_training.kept_at(RECIPE, given)
    position_training.learned(RECIPE, CHANNELS, given)
    spoil, said = FAULTS[fault]
    spoil(path)
    with pytest.raises(ValueError, match=said) as caught:
        position_training.learned(RECIPE, CHANNELS, given)
    assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position_training.os, "access", lambda *_: False)
    monkeypatch.setattr(position_training, "train", None)
    with pytest.raises(ValueError, match=rf"{tmp_path} cannot be written; make it writable"):
        position_training.learned(RECIPE, CHANNELS, data_of(own(teacher, tmp_path)))


def test_an_error_that_is_not_finite_ends_the_training(teacher: Path) -> None:
    wild = dataclasses.replace(RECIPE, iterations=20, optimizer=OptimizerConfig(lr=1e30))
    said = r"must stay finite, but was (inf|nan) at iteration \d+; lower methods\.idd\.pretraining\.optimizer\.lr"
    with pytest.raises(ValueError, match=said):
        position_training.train(wild, CHANNELS, data_of(teacher))


def test_the_teacher_is_not_read_where_nothing_is_learned(tmp_path: Path) -> None:
    config = small.trial({"teacher": {"path": str(tmp_path / "nowhere"), "sha256": "0" * 64}})
    given = pretraining_data(config, streets.Dataset(config.data, "train"), torch.device("cpu"))
    channels = {"features": CHANNELS}
    method = idd.Method(
        idd.Config(weights=idd.Weights(position=0)), student_channels=channels, teacher_channels=channels, num_classes=3
    )
    method.prepare(given)


def reading(teacher: Path, **changes: Any) -> dict[str, Any]:
    """Changes that make the small trial one with IDD, whose student needs an adapter."""
    return {**small.READING, "teacher/path": str(teacher), "student/head_channels": 12, **changes}


def weights(folder: Path) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = load_file(LocalContext(folder).checkpoints()[-1] / "weights.safetensors")
    return stored


def test_a_trial_learns_to_read_before_its_first_step(teacher: Path, tmp_path: Path) -> None:
    file = own(teacher, tmp_path)
    context = LocalContext(tmp_path / "trial")
    train(small.trial(reading(file)), context)
    assert all(report["train/term/idd/position"] > 0 for report in context.reports)
    assert all(report["train/term/idd/distance"] > 0 for report in context.reports)
    path = position_training.kept_at(RECIPE, data_of(file))
    assert kept(file) == [path, context.folder]
    stored = weights(context.folder)
    for name, tensor in load_file(path).items():
        assert torch.equal(tensor, stored[f"methods.idd.network.{name}"])


def test_a_resumed_trial_has_it_in_its_checkpoint(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own(teacher, tmp_path)
    config = small.trial(reading(file))
    train(config, LocalContext(tmp_path / "straight", keep=3))
    shutil.copytree(tmp_path / "straight" / "checkpoint_000000003", tmp_path / "again" / "checkpoint_000000003")
    position_training.kept_at(config.methods["idd"].pretraining, data_of(file)).unlink()
    monkeypatch.setattr(position_training, "train", None)
    train(config, LocalContext(tmp_path / "again"))
    straight, again = weights(tmp_path / "straight"), weights(tmp_path / "again")
    assert straight.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in straight.items())
    assert kept(file) == [tmp_path / "again", tmp_path / "straight"]


def test_a_trial_that_died_before_its_first_checkpoint_finds_the_kept_one(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small.trial(reading(own(teacher, tmp_path)))
    train(config, LocalContext(tmp_path / "first"))
    monkeypatch.setattr(position_training, "train", None)
    train(config, LocalContext(tmp_path / "second"))
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_without_the_checkpoints_network_the_trial_would_be_another(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small.trial(reading(own(teacher, tmp_path)))
    train(config, LocalContext(tmp_path / "straight", keep=3))
    shutil.copytree(tmp_path / "straight" / "checkpoint_000000003", tmp_path / "again" / "checkpoint_000000003")
    load = TrainState.load

    def load_less(state: TrainState, folder: Path, **place: Any) -> None:
        network: Any = state.distiller.methods["idd"].network
        fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        load(state, folder, **place)
        network.load_state_dict(fresh)

    monkeypatch.setattr(TrainState, "load", load_less)
    train(config, LocalContext(tmp_path / "again"))
    adapters = [weights(tmp_path / name)["methods.idd.adapter.weight"] for name in ("straight", "again")]
    assert not torch.equal(adapters[0], adapters[1])

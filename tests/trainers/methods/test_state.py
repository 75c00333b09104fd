"""What methods keep from step to step - discriminators, banks, frozen networks - is part of a trial's state."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers import small
from tests.trainers.stops import ending, equal, reproducible, stopped
from trainers.checkpoint import TrainState
from trainers.context import LocalContext
from trainers.loop import train

Deletion = Callable[[TrainState, Callable[[], None]], None]
BANKS = {"pixel_memory_size": 40, "region_memory_size": 8, "pixel_contrast_size": 44, "region_contrast_size": 22}
METHODS: dict[str, Any] = {"skd": {}, "cirkd": BANKS, **small.READING["methods"]}


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Changes that give the small trial every method that keeps something."""
    path = small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return {**small.DISTILLED, "methods": METHODS, "teacher/path": str(path)}


@pytest.fixture(scope="module")
def undisturbed(changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    context = LocalContext(tmp_path_factory.mktemp("undisturbed"))
    train(small.trial(changes), context)
    return context


def test_every_term_and_every_adversarys_loss_is_reported(undisturbed: LocalContext) -> None:
    reported = {name.removeprefix("train/term/") for name in undisturbed.reports[-1] if name.startswith("train/term/")}
    assert reported == {
        *(f"task/{head}" for head in ("main", "aux")),
        *(f"skd/{term}" for term in ("pixel", "pairwise", "holistic", "discriminator", "penalty")),
        *(f"cirkd/{term}" for term in ("minibatch", "pixel_memory", "region_memory")),
        *(f"idd/{term}" for term in ("distance", "position")),
    }


def test_a_stopped_trial_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: LocalContext, changes: dict[str, Any]
) -> None:
    stopped(changes, tmp_path, at=3)
    metrics = train(small.trial(changes), LocalContext(tmp_path))
    assert equal(ending(tmp_path), ending(undisturbed.folder))
    assert reproducible(metrics) == reproducible(undisturbed.reports[-1])


def without_the_discriminators_moments(state: TrainState, load: Callable[[], None]) -> None:
    load()
    state.adversaries["skd"].state.clear()


def without(part: str) -> Deletion:
    """Of the distiller's methods: that part stays as it was built."""

    def deletion(state: TrainState, load: Callable[[], None]) -> None:
        module = state.distiller.methods.get_submodule(part)
        fresh = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        load()
        module.load_state_dict(fresh)

    return deletion


PARTS = ("skd.critic", "cirkd.projection", "cirkd.banks.pixel_memory", "cirkd.banks.region_memory", "idd.network")


@pytest.mark.parametrize(
    "deletion",
    [without_the_discriminators_moments, *map(without, PARTS)],
    ids=["skd's moments", *PARTS],
)
def test_no_part_of_it_can_be_spared(
    tmp_path: Path,
    undisturbed: LocalContext,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    deletion: Deletion,
) -> None:
    stopped(changes, tmp_path, at=3)
    load = TrainState.load

    def load_less(state: TrainState, folder: Path, **place: Any) -> None:
        deletion(state, lambda: load(state, folder, **place))
        shutil.rmtree(folder)

    monkeypatch.setattr(TrainState, "load", load_less)
    train(small.trial(changes), LocalContext(tmp_path))
    assert not equal(ending(tmp_path), ending(undisturbed.folder))


def test_the_discriminator_has_an_optimizer_of_its_own(undisturbed: LocalContext) -> None:
    last = torch.load(undisturbed.checkpoints()[-1] / "state.pt", weights_only=True)
    (students,) = last["optimizer"]["param_groups"]
    (critics,) = last["opponents"]["skd"]["param_groups"]
    assert critics["betas"] == (0.9, 0.99)
    student = sum(name.startswith("student.") for name in ending(undisturbed.folder))
    assert len(critics["params"]) == 26
    assert len(students["params"]) < student

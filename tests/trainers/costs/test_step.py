"""The price of a step: operations against a count by hand, and seconds in turns."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainers.config import TeacherFile, TrialConfig, parse
from trainers.costs.step import STEPS, WARM_UP, CountedOperations, step_operations, step_seconds
from trainers.models import deeplabv3

NETWORK = {"architecture": "deeplabv3", "backbone": "mobilenetv2_035", "head_channels": 16, "rates": [2, 4]}
TEACHER = deeplabv3.Config(backbone="mobilenetv2_035", head_channels=16, rates=(2, 4))


def trial(methods: dict[str, object] | None = None, **train: object) -> TrialConfig:
    values = {
        "data": {"name": "streets", "size": [48, 64]},
        "augment": {"crop": [48, 64]},
        "student": NETWORK,
        "train": {"iterations": 8, "batch": 4, "evaluate_every": 4, **train},
        "task": {"weighting": "uniform"},
        "methods": methods or {},
    }
    read = parse(TrialConfig, values)
    return replace(read, teacher=TeacherFile(path="teacher")) if methods else read


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_forward_and_backward_of_a_convolution_by_hand(groups: int, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        layer = kind(6, 12, 3, groups=groups, bias=False)  # type: ignore[call-arg]
        images = torch.empty(2, 6, 10, 11, requires_grad=True)
    with CountedOperations() as counted:
        outputs = layer(images)
        outputs.sum().backward()
    positions = outputs.shape[-2] * outputs.shape[-1] if kind is nn.Conv2d else 10 * 11
    once = 2 * positions * 9 * 6 * 12 // groups  # multiply-accumulates of the batch of 2
    assert counted.total == 3 * 2 * once, "the forward, and the gradients of images and weight"


def test_without_groups_it_is_what_torch_counts() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 5))
        images = torch.empty(4, 3, 16, 16)
    with CountedOperations() as ours:
        network(images).sum().backward()
    with FlopCounterMode(display=False) as theirs:
        network(images).sum().backward()
    assert ours.total == theirs.get_total_flops()


def test_a_distilled_step_costs_the_teachers_forward_more() -> None:
    plain, kd = step_operations(trial(), None), step_operations(trial({"kd": {}}), TEACHER)
    # of the same network as the student's, whose backward is about twice its forward
    assert 0.25 * plain < kd - plain < 0.4 * plain
    assert step_operations(trial({"skd": {}}), TEACHER) > kd, "with its discriminator's own step and gradient penalty"


def test_it_is_a_number_of_the_configuration_alone() -> None:
    usual = step_operations(trial(), None)
    assert step_operations(trial(), None) == usual
    assert step_operations(trial(precision="bfloat16", channels_last=True), None) == usual
    assert step_operations(trial(workers=2), None) == pytest.approx(usual, rel=0.01), "of all ranks together"
    assert step_operations(trial(batch=8), None) == pytest.approx(2 * usual, rel=0.01)


def test_seconds_are_medians_of_steps_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def seconds(parts: object, *_: object) -> float:
        asked.append(parts.teacher is not None)  # type: ignore[attr-defined]
        return 2.0 if asked[-1] else 1.0

    monkeypatch.setattr("trainers.costs.step._seconds", seconds)
    found = step_seconds({"plain": trial(), "kd": trial({"kd": {}})}, TEACHER, torch.device("cpu"))
    assert found == {"plain": 1.0, "kd": 2.0}
    assert asked == [False, True] * (WARM_UP + STEPS)


def test_a_real_step_takes_time() -> None:
    assert 0 < step_seconds({"plain": trial()}, None, torch.device("cpu"))["plain"] < 60

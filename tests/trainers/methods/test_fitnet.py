from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.methods import fitnet
from trainers.testing import MethodContract

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestContract(MethodContract):
    config = fitnet.Config()

    def method(self, seed: int = 0, *, teacher_channels: dict[str, int] | None = None) -> Any:
        """Where student and teacher are to be equal, the adapter is the identity."""
        method = super().method(seed, teacher_channels=teacher_channels)
        if teacher_channels:
            nn.init.dirac_(method.adapter.weight)
        return method


def method(weight: float = 10.0, student: int = 4, teacher: int = 6) -> fitnet.Method:
    return fitnet.Method(
        fitnet.Config(weights=fitnet.Weights(features=weight)),
        student_channels={"features": student},
        teacher_channels={"features": teacher},
        num_classes=3,
    )


def test_is_the_mean_over_all_elements_of_the_adapted_features() -> None:
    student = torch.randn(1, 4, 3, 5, dtype=torch.float64)
    teacher = torch.randn(1, 6, 3, 5, dtype=torch.float64)
    module = method().double()
    mean = module.terms({"features": student}, {"features": teacher}, torch.zeros(1, 8, 8))["features"]
    assert module.adapter is not None and module.adapter.bias is None
    weight = module.adapter.weight.detach()
    expected = 0.0
    for channel in range(6):
        for y in range(3):
            for x in range(5):
                adapted = sum(float(weight[channel, c, 0, 0] * student[0, c, y, x]) for c in range(4))
                expected += (adapted - float(teacher[0, channel, y, x])) ** 2
    assert mean.value.item() == pytest.approx(expected / (6 * 15), rel=1e-12)
    assert mean.count == 6 * 15


def test_adapts_equal_channel_counts_too() -> None:
    assert method(student=4, teacher=4).adapter is not None


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 4, 4)])
def test_refuses_features_of_different_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape.*same output stride"):
        fitnet.feature_mse(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


def test_without_weight_there_is_no_adapter() -> None:
    module = method(0)
    assert module.config.taps == ()
    assert not list(module.parameters())
    assert module.terms({}, {}, torch.zeros(1, 8, 8)) == {}


@DTYPES
@pytest.mark.parametrize("case", golden("FITNET"))
def test_agrees_with_published_fitnet(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, weight = reference.leaves("feat_s", "w_proj")
    adapted = nn.functional.conv2d(student, weight)
    reference.agrees(fitnet.feature_mse(adapted, reference["feat_t"]).value, feat_s=student, w_proj=weight)

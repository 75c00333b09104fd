from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.methods import at
from trainers.testing import MethodContract

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestContract(MethodContract):
    config = at.Config()


class TestContractOfTheNorm(MethodContract):
    config = at.Config(form="norm", weights=at.Weights(attention=500))


def naive_squares(student: Tensor, teacher: Tensor) -> list[float]:
    """Squared difference of the two attention maps of each image, one position at a time."""
    sums = []
    for s, t in zip(student, teacher, strict=True):
        maps = []
        for features in (s, t):
            positions = [(y, x) for y in range(features.shape[1]) for x in range(features.shape[2])]
            energies = [sum(float(v) ** 2 for v in features[:, y, x]) / len(features) for y, x in positions]
            length = sum(energy**2 for energy in energies) ** 0.5
            maps.append([energy / length for energy in energies])
        sums.append(sum((a - b) ** 2 for a, b in zip(*maps, strict=True)))
    return sums


@pytest.mark.parametrize("batch", [1, 3])
def test_compares_where_the_energy_lies(batch: int) -> None:
    student = torch.randn(batch, 4, 3, 5, dtype=torch.float64)
    teacher = torch.randn(batch, 6, 3, 5, dtype=torch.float64)
    squares = naive_squares(student, teacher)
    squared = at.attention_transfer(student, teacher)
    assert squared.value.item() == pytest.approx(sum(squares) / (batch * 15), rel=1e-12)
    assert squared.count == batch * 15
    norm = at.attention_transfer(student, teacher, form="norm")
    assert norm.total.item() == pytest.approx(sum(square**0.5 for square in squares), rel=1e-12)
    assert norm.count == batch * 15


@pytest.mark.parametrize("form", ["squared_mean", "norm"])
def test_dead_features_give_finite_values_and_gradients(form: Any) -> None:
    student = torch.zeros(2, 4, 3, 3, requires_grad=True)
    mean = at.attention_transfer(student, torch.rand(2, 4, 3, 3), form=form)
    mean.value.backward()
    assert mean.value.isfinite()
    assert student.grad is not None and not student.grad.any()


def test_the_norms_gradient_is_zero_at_its_minimum() -> None:
    student = torch.rand(2, 4, 3, 3, requires_grad=True)
    at.attention_transfer(student, student.detach(), form="norm").value.backward()
    assert student.grad is not None and not student.grad.any()


def test_refuses_maps_of_different_sizes() -> None:
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        at.attention_transfer(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))


def test_without_weight_nothing_is_read() -> None:
    config = at.Config(weights=at.Weights(attention=0))
    method = at.Method(config, student_channels={}, teacher_channels={}, num_classes=3)
    assert config.taps == ()
    assert method.terms({}, {}, torch.zeros(1, 8, 8, dtype=torch.long)) == {}


@DTYPES
@pytest.mark.parametrize("case", golden("AT"))
def test_agrees_with_published_at(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("feat_s")
    reference.agrees(at.attention_transfer(student, reference["feat_t"]).value, feat_s=student)

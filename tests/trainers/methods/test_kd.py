from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.difficulty import upsample
from trainers.methods import kd
from trainers.testing import MethodContract

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestContract(MethodContract):
    config = kd.Config()


class TestContractOfTheOtherReading(MethodContract):
    config = kd.Config(direction="student_to_teacher", t_squared=False, temperature=3.0)


def naive_kl(first: torch.Tensor, second: torch.Tensor) -> float:
    """KL(first || second) of logits [B, C, h, w], mean over pixels, one pixel at a time."""
    batch, _, height, width = first.shape
    divergence = 0.0
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                p, q = first[b, :, y, x].exp(), second[b, :, y, x].exp()
                p, q = p / p.sum(), q / q.sum()
                divergence += float(sum(a * (a / b).log() for a, b in zip(p, q, strict=True)))
    return divergence / (batch * height * width)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_is_the_divergence_of_every_pixel(temperature: float) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64).unbind()
    forward = naive_kl(teacher / temperature, student / temperature)
    backward = naive_kl(student / temperature, teacher / temperature)
    options: dict[str, Any] = {"temperature": temperature}
    assert kd.pixel_kl(student, teacher, **options).value.item() == pytest.approx(temperature**2 * forward, rel=1e-12)
    options |= {"direction": "student_to_teacher", "t_squared": False}
    mean = kd.pixel_kl(student, teacher, **options)
    assert mean.value.item() == pytest.approx(backward, rel=1e-12)
    assert mean.count == 2 * 3 * 4


def test_stays_finite_where_probabilities_underflow() -> None:
    student = torch.tensor([500.0, 0.0]).view(1, 2, 1, 1)
    assert kd.pixel_kl(student, -student).value.item() == pytest.approx(500.0)


def test_refuses_logits_of_different_shapes() -> None:
    with pytest.raises(ValueError, match=r"one shape.*same output stride"):
        kd.pixel_kl(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))


def test_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TypeAdapter(kd.Config).validate_python({"temperature": 0})


@DTYPES
@pytest.mark.parametrize("case", golden("KD"))
def test_agrees_with_published_kd(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, teacher = reference.leaves("logits_s")[0], reference["logits_t"]
    factor = reference.params.get("upsample_factor", 1)
    size = [factor * side for side in student.shape[-2:]]
    mean = kd.pixel_kl(
        upsample(student, size),
        upsample(teacher, size),
        temperature=reference.params["temperature"],
    )
    # IFVD divides by the classes as well.
    divisor = student.shape[1] if "IFVD" in case["source"] else 1
    reference.agrees(mean.value / divisor, logits_s=student)


@DTYPES
@pytest.mark.parametrize("case", golden("KD_PIXELWISE"))
def test_agrees_with_skd_but_for_batch_and_entropy(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, teacher = reference.leaves("logits_s")[0], reference["logits_t"]
    probability = teacher.softmax(1)
    entropy = -(probability * probability.log()).sum(1).mean()
    batch = len(student)
    reference.agrees(batch * (kd.pixel_kl(student, teacher).value + entropy), logits_s=student)

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.methods import cwd
from trainers.testing import MethodContract

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
NO_LABELS = torch.zeros(1, 8, 8, dtype=torch.long)


class TestContract(MethodContract):
    config = cwd.Config()


class TestContractOfThePublishedDivisor(MethodContract):
    config = cwd.Config(divisor="student_channels", temperature=1.0)


class TestContractOfLogitsAlone(MethodContract):
    config = cwd.Config(weights=cwd.Weights(features=0))


class TestContractOfFeaturesAlone(MethodContract):
    config = cwd.Config(weights=cwd.Weights(logits=0))


def method(student: int, teacher: int, **options: Any) -> cwd.Method:
    return cwd.Method(
        cwd.Config(**options),
        student_channels={"logits": 3, "features": student},
        teacher_channels={"logits": 3, "features": teacher},
        num_classes=3,
    )


def naive_sum(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """T^2 times the divergences of all channels, one position at a time."""
    total = 0.0
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        q, p = (s / temperature).exp(), (t / temperature).exp()
        q, p = q / q.sum(), p / p.sum()
        total += float(sum(a * (a / b).log() for a, b in zip(p.flatten(), q.flatten(), strict=True)))
    return temperature**2 * total


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("batch", [1, 3])
def test_is_the_divergence_of_every_channel(batch: int, temperature: float) -> None:
    student, teacher = torch.randn(2, batch, 5, 3, 4, dtype=torch.float64).unbind()
    mean = cwd.channel_kl(student, teacher, temperature=temperature)
    assert mean.value.item() == pytest.approx(naive_sum(student, teacher, temperature) / (batch * 5), rel=1e-12)
    assert mean.count == batch * 5


def test_stays_finite_where_probabilities_underflow() -> None:
    student = torch.tensor([200.0, 0.0]).view(1, 1, 1, 2).requires_grad_()
    mean = cwd.channel_kl(student, -student, temperature=1.0)
    mean.value.backward()
    assert mean.value.item() == pytest.approx(200.0)
    assert student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 4, 4)])
def test_refuses_maps_of_different_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape.*same output stride"):
        cwd.channel_kl(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


def test_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TypeAdapter(cwd.Config).validate_python({"temperature": 0})


def test_adapts_only_where_the_channel_counts_differ() -> None:
    adapter = method(4, 6).adapter
    assert isinstance(adapter, nn.Conv2d)
    assert adapter.weight.shape == (6, 4, 1, 1)
    assert adapter.bias is None
    assert not list(method(4, 4).parameters())


def test_a_term_without_weight_leaves_no_trace() -> None:
    module = method(4, 6, weights=cwd.Weights(features=0))
    assert module.config.taps == ("logits",)
    assert not list(module.parameters())
    assert cwd.Config(weights=cwd.Weights(logits=0)).taps == ("features",)


def test_the_published_divisor_counts_the_students_channels() -> None:
    taps = {"features": torch.randn(2, 4, 3, 3)}, {"features": torch.randn(2, 6, 3, 3)}
    features = cwd.Weights(logits=0)
    sound, published = method(4, 6, weights=features), method(4, 6, weights=features, divisor="student_channels")
    published.load_state_dict(sound.state_dict())
    ours, theirs = (module.terms(*taps, NO_LABELS)["features"] for module in (sound, published))
    assert (ours.count, theirs.count) == (12, 8)
    assert ours.total == theirs.total


@DTYPES
@pytest.mark.parametrize("case", golden("CWD_LOGIT"))
def test_agrees_with_published_cwd_of_logits(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("logits_s")
    temperature = reference.params.get("temperature", reference.params.get("tau"))
    mean = cwd.channel_kl(student, reference["logits_t"], temperature=temperature)
    reference.agrees(reference.params.get("loss_weight", 1) * mean.value, logits_s=student)


@DTYPES
@pytest.mark.parametrize("case", golden("CWD_FEAT"))
def test_agrees_with_published_cwd_of_features(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("feat_s")
    module = method(
        student.shape[1],
        reference["feat_t"].shape[1],
        weights=cwd.Weights(logits=0),
        divisor="student_channels",
        temperature=reference.params["temperature"],
    ).to(dtype)
    module.load_state_dict({"adapter.weight": reference["w_proj"]})
    mean = module.terms({"features": student}, {"features": reference["feat_t"]}, NO_LABELS)["features"]
    reference.agrees(mean.value, feat_s=student, w_proj=next(module.parameters()))

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.data import IGNORE
from trainers.methods import ifvd
from trainers.testing import LabelledMethodContract

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestContract(LabelledMethodContract):
    config = ifvd.Config()


def naive_cosines(features: Tensor, labels: Tensor, num_classes: int) -> list[float]:
    """Of one image [D, h, w], one pixel at a time; 1 where there is no class."""
    height, width = features.shape[1:]
    positions = [(y, x) for y in range(height) for x in range(width)]
    cosines = []
    for y, x in positions:
        label = int(labels[y * labels.shape[0] // height, x * labels.shape[1] // width])
        if not 0 <= label < num_classes:
            cosines.append(1.0)
            continue
        alike = [
            features[:, v, u]
            for v, u in positions
            if labels[v * labels.shape[0] // height, u * labels.shape[1] // width] == label
        ]
        centre, pixel = sum(alike, torch.zeros(())) / len(alike), features[:, y, x]
        cosines.append(float(torch.dot(pixel, centre) / (pixel.norm() * centre.norm())))
    return cosines


@pytest.mark.parametrize("batch", [1, 2])
def test_compares_the_cosines_to_the_class_centres_of_an_image(batch: int) -> None:
    student = torch.randn(batch, 4, 5, 3, dtype=torch.float64)
    teacher = torch.randn(batch, 6, 5, 3, dtype=torch.float64)
    labels = torch.randint(4, (batch, 11, 7))
    labels[:, :3, :4] = IGNORE
    labels[:, 6:, :2] = 4  # not a class of 4
    labels[0, labels[0] == 2] = 1
    expected = 0.0
    for s, t, truth in zip(student, teacher, labels, strict=True):
        ours, theirs = naive_cosines(s, truth, 4), naive_cosines(t, truth, 4)
        expected += sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True))
    mean = ifvd.intra_class_variation(student, teacher, labels, num_classes=4)
    assert mean.value.item() == pytest.approx(expected / (batch * 15), rel=1e-12)
    assert mean.count == batch * 15


def test_gradient_flows_through_the_centres() -> None:
    student, teacher = torch.randn(2, 1, 3, 2, 3, dtype=torch.float64).unbind()
    labels = torch.tensor([[[0, 0, 1], [1, 1, IGNORE]]])

    def loss(features: Tensor) -> Tensor:
        return ifvd.intra_class_variation(features, teacher, labels, num_classes=2).value

    assert torch.autograd.gradcheck(loss, student.requires_grad_())


def test_pixels_without_features_get_no_gradient() -> None:
    student = torch.rand(1, 4, 3, 3)
    student[..., 0, 0] = 0
    student.requires_grad_()
    labels = torch.zeros(1, 3, 3, dtype=torch.long)
    labels[0, 0, 0] = 1
    mean = ifvd.intra_class_variation(student, torch.rand(1, 4, 3, 3), labels, num_classes=2)
    mean.value.backward()
    assert mean.value.isfinite()
    assert student.grad is not None and student.grad.isfinite().all() and student.grad.any()
    assert not student.grad[..., 0, 0].any()


def test_refuses_maps_of_different_sizes() -> None:
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        ifvd.intra_class_variation(
            torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8), torch.zeros(1, 32, 32, dtype=torch.long), num_classes=2
        )


def test_without_weight_nothing_is_read() -> None:
    config = ifvd.Config(weights=ifvd.Weights(intra_class=0))
    method = ifvd.Method(config, student_channels={}, teacher_channels={}, num_classes=3)
    assert config.taps == ()
    assert method.terms({}, {}, torch.zeros(1, 8, 8, dtype=torch.long)) == {}


@DTYPES
@pytest.mark.parametrize("case", golden("IFVD"))
def test_agrees_with_published_ifvd(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    (student,) = reference.leaves("feat_s")
    mean = ifvd.intra_class_variation(
        student, reference["feat_t"], reference.labels, num_classes=reference.params["num_classes"]
    )
    reference.agrees(mean.value, feat_s=student)

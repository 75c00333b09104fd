from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.data import IGNORE
from trainers.methods import idd
from trainers.methods.position_network import PositionNetwork, Pretraining, positions
from trainers.testing import LabelledMethodContract, MethodContract
from trainers.testing.taps import CLASSES, STUDENT_CHANNELS, TEACHER_CHANNELS, leaves, random_labels

AXES: tuple[idd.Axis, ...] = ("text", "formula")


class TestContract(MethodContract):
    config = idd.Config()


class TestContractOfDistances(LabelledMethodContract):
    config = idd.Config(weights=idd.Weights(position=0))


class TestContractOfPositionsByTheFormula(MethodContract):
    config = idd.Config(axis="formula", weights=idd.Weights(distance=0))


def features(channels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, channels, 5, 6, dtype=torch.float64, generator=generator)


def some_labels() -> Tensor:
    """Three images: all of 4 classes, two of them, and one alone; class 4 nowhere, some pixels of no class."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(4, (3, 5, 6), generator=generator)
    labels[1] %= 2
    labels[2] = 3
    return labels.masked_fill(torch.rand(labels.shape, generator=generator) < 0.2, IGNORE)


def naive_centres(maps: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Of one image [D, h, w], by class, of those that it has."""
    found: dict[int, list[Tensor]] = {}
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            if (label := int(labels[row, column])) != IGNORE:
                found.setdefault(label, []).append(maps[:, row, column])
    return {label: torch.stack(vectors).mean(0) for label, vectors in found.items()}


def naive_distance(student: Tensor, teacher: Tensor, labels: Tensor) -> float:
    images = []
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        s, t = naive_centres(ours, label), naive_centres(theirs, label)
        pairs = [(i, j) for i in s for j in s if i != j]
        squares = [float(((t[i] - t[j]).norm() - (s[i] - s[j]).norm()) ** 2) for i, j in pairs]
        if squares:
            images.append(sum(squares) / len(squares))
    return sum(images) / len(images)


def test_distances_are_those_of_every_pair() -> None:
    student, teacher, labels = features(4, 1), features(7, 2), some_labels()
    mean = idd.inter_class_distance(student, teacher, labels, num_classes=CLASSES)
    assert mean.value.item() == pytest.approx(naive_distance(student, teacher, labels), rel=1e-12)
    assert mean.count == 2


def test_labels_of_the_image_are_taken_at_the_nearest_pixel() -> None:
    student, teacher, labels = features(4, 1), features(7, 2), some_labels()
    large = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    small, full = (idd.inter_class_distance(student, teacher, given, num_classes=CLASSES) for given in (labels, large))
    assert torch.equal(small.value, full.value)


def test_the_gradient_is_right() -> None:
    student = features(4, 1).requires_grad_()
    teacher, labels = features(7, 2), some_labels()
    assert torch.autograd.gradcheck(
        lambda maps: idd.inter_class_distance(maps, teacher, labels, num_classes=CLASSES).value, student
    )


def test_centres_are_means_of_the_pixels_of_a_class() -> None:
    maps, labels = features(4, 1), some_labels()
    centres, present = idd.class_centres(maps, labels, num_classes=CLASSES)
    for image in range(3):
        expected = naive_centres(maps[image], labels[image])
        assert present[image].tolist() == [label in expected for label in range(CLASSES)]
        for label in range(CLASSES):
            torch.testing.assert_close(centres[image, label], expected.get(label, torch.zeros(4).double()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", golden("IDD_BLOCKS"))
def test_agrees_with_the_reference_blocks(case: dict[str, Any], dtype: torch.dtype) -> None:
    exact = dtype == torch.float64
    # the reference has float64 centres of the stored float32 features
    close = {"rtol": 1e-9, "atol": case["tolerance"]["atol"]} if exact else {"rtol": 1e-5, "atol": 1e-5}
    stored = Reference(case, dtype)
    labels = torch.from_numpy(stored.stored["target_low"])
    labels = labels.masked_fill(labels == -1, IGNORE)
    classes = case["params"]["num_classes"]
    for side in ("s", "t"):
        centres, present = idd.class_centres(stored[f"feat_{side}"], labels, num_classes=classes)
        np.testing.assert_array_equal(present, stored.stored["out_present"])
        torch.testing.assert_close(centres, stored[f"out_centers_{side}"], **close)
        both = present[:, :, None] & present[:, None]
        expected = stored[f"out_dist_{side}"].where(both, 0)
        torch.testing.assert_close(idd._distances(centres).where(both, 0), expected, **close)
    mean = idd.inter_class_distance(stored["feat_s"], stored["feat_t"], labels, num_classes=classes)
    expected = stored.stored["out_mean_over_present_pairs_then_batch"]
    np.testing.assert_allclose(mean.value, expected, rtol=close["rtol"])
    per_image = stored.stored["out_sum_pairs_per_image"] / stored.stored["out_npairs_per_image"]
    np.testing.assert_allclose(mean.total, per_image.sum(), rtol=close["rtol"])


@pytest.mark.parametrize("label", [2, IGNORE])
def test_images_without_two_classes_count_for_nothing(label: int) -> None:
    student = features(4, 1).requires_grad_()
    labels = torch.full((3, 5, 6), label)
    mean = idd.inter_class_distance(student, features(7, 2), labels, num_classes=CLASSES)
    mean.value.backward()  # type: ignore[no-untyped-call]
    assert (mean.value, mean.count) == (0, 0)
    assert student.grad is not None and not student.grad.any()


def test_coinciding_centres_have_a_finite_gradient() -> None:
    # every class has the same vector everywhere, but for class 0
    labels = some_labels()
    student = torch.ones(3, 4, 5, 6, dtype=torch.float64)
    student = (student + (labels == 0)[:, None]).requires_grad_()
    mean = idd.inter_class_distance(student, features(7, 2), labels, num_classes=CLASSES)
    mean.value.backward()  # type: ignore[no-untyped-call]
    assert mean.value > 0
    assert student.grad is not None and student.grad.isfinite().all()
    assert student.grad.any()


def test_distances_of_close_centres_are_exact_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    # more classes than torch.cdist takes differences of by itself
    centres = 100 + 0.01 * torch.rand(1, 40, 64, generator=generator)
    expected = (centres.double()[:, :, None] - centres.double()[:, None]).norm(dim=-1)
    torch.testing.assert_close(idd._distances(centres).double(), expected, rtol=1e-5, atol=0)


def test_features_on_different_grids_are_refused() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        idd.inter_class_distance(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8), labels, num_classes=2)
    with pytest.raises(ValueError, match=r"one size.*same output stride"):
        idd.position_information(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 8, 8))


def naive_position(student: Tensor, teacher: Tensor, axis: str) -> float:
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        rows = [
            (ours[d, i], theirs[d, i]) for d in (0, 1) for i in range(ours.shape[1]) if (d == 0) == (axis == "text")
        ]
        columns = [
            (ours[d, :, j], theirs[d, :, j])
            for d in (0, 1)
            for j in range(ours.shape[2])
            if (d == 1) == (axis == "text")
        ]
        total += sum(float((t / t.norm() - s / s.norm()).norm()) for s, t in rows + columns) / 2
    return total / len(student)


@pytest.mark.parametrize("axis", AXES)
def test_positions_are_compared_along_every_line(axis: idd.Axis) -> None:
    student, teacher = features(2, 1), features(2, 2)
    mean = idd.position_information(student, teacher, axis=axis)
    assert mean.value.item() == pytest.approx(naive_position(student, teacher, axis), rel=1e-12)
    assert mean.count == 3
    assert torch.autograd.gradcheck(
        lambda maps: idd.position_information(maps, teacher, axis=axis).value, features(2, 1).requires_grad_()
    )


@pytest.mark.parametrize("axis", AXES)
def test_only_the_text_reading_sees_a_position_that_is_lost(axis: idd.Axis) -> None:
    perfect = positions(torch.zeros(1, 2, 5, 6)).add(0.1)[None]
    constant = torch.full_like(perfect, 0.5)
    found = idd.position_information(constant, perfect, axis=axis).value.item()
    assert (found > 1) == (axis == "text")
    assert found == pytest.approx(0, abs=1e-5) or axis == "text"
    scaled = idd.position_information(7 * perfect, perfect, axis=axis).value.item()
    assert scaled == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_empty_lines_have_a_finite_gradient(axis: idd.Axis) -> None:
    maps = torch.zeros(1, 2, 5, 6).requires_grad_()
    idd.position_information(maps, torch.zeros(1, 2, 5, 6), axis=axis).value.backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None and maps.grad.isfinite().all()


def method(student_channels: dict[str, int], **weights: float) -> idd.Method:
    return idd.Method(
        idd.Config(weights=idd.Weights(**weights)),
        student_channels=student_channels,
        teacher_channels=TEACHER_CHANNELS,
        num_classes=CLASSES,
    )


def test_a_student_of_other_width_has_an_adapter() -> None:
    made = method(STUDENT_CHANNELS)
    assert isinstance(made.adapter, nn.Conv2d)
    assert {name for name, p in made.named_parameters() if p.requires_grad} == {"adapter.weight", "adapter.bias"}
    assert isinstance(method(TEACHER_CHANNELS).adapter, nn.Identity)


def test_a_position_without_weight_leaves_no_trace() -> None:
    made = method(STUDENT_CHANNELS, position=0)
    assert not made.state_dict()


def test_the_position_network_rests_while_the_student_learns() -> None:
    made = method(STUDENT_CHANNELS).train()
    assert made.network is not None
    assert made.training and not any(module.training for module in made.network.modules())
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    taps = [leaves({"features": torch.randn(3, channels, 9, 13)}) for channels in (6, 8)]
    made.terms(taps[0], taps[1], random_labels(0))["position"].value.backward()  # type: ignore[no-untyped-call]
    assert taps[0]["features"].grad is not None and taps[0]["features"].grad.any()
    assert all(parameter.grad is None for parameter in made.network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.network.state_dict().items())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_position_network_of_any_depth_gives_maps_of_the_features_size(depth: int) -> None:
    network = PositionNetwork(8, Pretraining(depth=depth, hidden_channels=5))
    assert network(torch.zeros(2, 8, 7, 9)).shape == (2, 2, 7, 9)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth
    smallest = 2 * depth + 1
    assert network(torch.zeros(2, 8, smallest, smallest)).isfinite().all()
    with pytest.raises(ValueError, match=rf"at least {smallest} x {smallest}, but got {smallest - 1} x 9; lower"):
        network(torch.zeros(2, 8, smallest - 1, 9))


def test_it_cannot_make_up_positions_from_features_that_have_none() -> None:
    network = PositionNetwork(3, Pretraining(depth=2)).freeze()
    maps = network(torch.ones(1, 3, 7, 9))
    assert (maps - maps[..., :1, :1]).abs().max() < 1e-5


def test_perfect_maps() -> None:
    across, down = positions(torch.zeros(1, 2, 3, 5))
    assert across.tolist() == [[0, 0.25, 0.5, 0.75, 1]] * 3
    assert down.T.tolist() == [[0, 0.5, 1]] * 5

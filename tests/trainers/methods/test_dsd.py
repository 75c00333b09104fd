from itertools import combinations
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.methods import dsd
from trainers.models import Taps
from trainers.testing import MethodContract
from trainers.testing.taps import STUDENT_CHANNELS, leaves, random_taps

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
NO_LABELS = torch.zeros(1, 8, 8, dtype=torch.long)
HEADLESS = {name: count for name, count in STUDENT_CHANNELS.items() if name != "aux"}


class TestContract(MethodContract):
    config = dsd.Config()


class TestContractOfCategoriesAlone(MethodContract):
    config = dsd.Config(temperature=1.0, weights=dsd.Weights(pixel=0))


class TestContractOfPixelsAlone(MethodContract):
    config = dsd.Config(weights=dsd.Weights(category=0))


class TestContractWithoutAuxiliaryHeads(MethodContract):
    config = dsd.Config(missing_aux="logits")

    def method(self, seed: int = 0, *, teacher_channels: dict[str, int] | None = None) -> Any:
        return method(HEADLESS, HEADLESS, missing_aux="logits")

    @pytest.fixture
    def student(self) -> Taps:
        return leaves(random_taps(HEADLESS, 1))

    @pytest.fixture
    def teacher(self) -> Taps:
        return leaves(random_taps(HEADLESS, 2, scale=2.0))


def method(student: dict[str, int], teacher: dict[str, int], **options: Any) -> dsd.Method:
    return dsd.Method(dsd.Config(**options), student_channels=student, teacher_channels=teacher, num_classes=5)


def unit(values: list[float]) -> list[float]:
    length = sum(value**2 for value in values) ** 0.5
    return [value / length for value in values] if length else values


def naive_residuals(layers: list[Tensor]) -> list[list[float]]:
    """Of one image's maps [C, h, w], one position at a time."""
    attention = [
        unit([sum(float(v) ** 2 for v in pixel) / len(pixel) for pixel in layer.flatten(1).T]) for layer in layers
    ]
    return [unit([b - a for a, b in zip(*pair, strict=True)]) for pair in combinations(attention, 2)]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [(5, 4, 5), (3, 7)])
def test_pixel_similarity_is_that_of_all_residuals(batch: int, channels: tuple[int, ...]) -> None:
    student = [torch.randn(batch, count, 3, 5, dtype=torch.float64) for count in channels]
    teacher = [torch.randn(batch, count + 2, 3, 5, dtype=torch.float64) for count in channels]
    expected, pairs = 0.0, len(list(combinations(channels, 2)))
    for b in range(batch):
        ours, theirs = (naive_residuals([layer[b] for layer in layers]) for layers in (student, teacher))
        for r, q in zip(ours, theirs, strict=True):
            expected += sum((x - y) ** 2 for x, y in zip(r, q, strict=True))
    mean = dsd.pixel_similarity(student, teacher)
    assert mean.value.item() == pytest.approx(expected / (pairs * batch * 15), rel=1e-12)
    assert mean.count == pairs * batch * 15


def naive_overlaps(logits: Tensor, temperature: float) -> list[float]:
    """Of one image [C, h, w]: all pairs of classes, one position at a time."""
    rows = []
    for channel in logits:
        height, width = channel.shape
        pooled = [float(channel[y : y + 2, x : x + 2].mean()) for y in range(0, height, 2) for x in range(0, width, 2)]
        weights = [float(torch.tensor(value / temperature, dtype=torch.float64).exp()) for value in pooled]
        rows.append([weight / sum(weights) for weight in weights])
    return [sum(a * b for a, b in zip(p, q, strict=True)) for p in rows for q in rows]


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_category_similarity_is_that_of_all_pairs(size: tuple[int, int], temperature: float) -> None:
    student, teacher = torch.randn(2, 2, 3, *size, dtype=torch.float64).unbind()
    expected = 0.0
    for s, t in zip(student, teacher, strict=True):
        pairs = zip(naive_overlaps(s, temperature), naive_overlaps(t, temperature), strict=True)
        expected += sum((a - b) ** 2 for a, b in pairs)
    mean = dsd.category_similarity(student, teacher, temperature=temperature)
    assert mean.value.item() == pytest.approx(expected / (2 * 9), rel=1e-10, abs=1e-15)
    assert mean.count == 2 * 9


def test_refuses_a_temperature_of_zero() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TypeAdapter(dsd.Config).validate_python({"temperature": 0})


def test_pixel_similarity_refuses_maps_of_different_sizes() -> None:
    small, large = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8)
    for student, teacher in (([large, small], [small, small]), ([small, small], [large, large])):
        with pytest.raises(ValueError, match=r"one size, but got .*\[8, 8\].*output stride"):
            dsd.pixel_similarity(student, teacher)


@pytest.mark.parametrize("counts", [(3, 2), (1, 1)])
def test_pixel_similarity_needs_the_same_layers_of_both(counts: tuple[int, int]) -> None:
    student, teacher = ([torch.zeros(1, 3, 4, 4)] * count for count in counts)
    with pytest.raises(ValueError, match=rf"at least two, but got {counts[0]} and {counts[1]}"):
        dsd.pixel_similarity(student, teacher)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 4, 4)])
def test_category_similarity_refuses_different_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape.*same classes"):
        dsd.category_similarity(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


@pytest.mark.parametrize(
    ("student", "teacher", "side"),
    [(HEADLESS, STUDENT_CHANNELS, "student"), (STUDENT_CHANNELS, HEADLESS, "teacher")],
)
def test_a_missing_head_is_refused_with_the_option_that_does_without(student: Any, teacher: Any, side: str) -> None:
    with pytest.raises(ValueError, match=rf"dsd reads the {side}'s 'aux' tap.*set methods.dsd.missing_aux to logits"):
        method(student, teacher)
    method(student, teacher, weights=dsd.Weights(pixel=0))


def test_logits_stand_for_the_auxiliary_map_of_the_network_that_has_none() -> None:
    student, teacher = leaves(random_taps(STUDENT_CHANNELS, 1)), random_taps(STUDENT_CHANNELS, 2)
    for ours, theirs in ((HEADLESS, STUDENT_CHANNELS), (STUDENT_CHANNELS, HEADLESS), (HEADLESS, HEADLESS)):
        layers = [
            [taps["aux" if "aux" in channels else "logits"], taps["features"], taps["logits"]]
            for taps, channels in ((student, ours), (teacher, theirs))
        ]
        found = method(ours, theirs, missing_aux="logits").terms(student, teacher, NO_LABELS)["pixel"]
        assert found.value == dsd.pixel_similarity(*layers).value


def test_maps_that_are_the_same_get_the_gradient_of_the_others_alone() -> None:
    logits, features = (torch.rand(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    teacher = [torch.rand(1, 3, 4, 4) for _ in range(3)]
    three = dsd.pixel_similarity([logits, features, logits], teacher)
    pairs = [
        dsd.pixel_similarity(maps, theirs)
        for maps, theirs in (([logits, features], teacher[:2]), ([features, logits], teacher[1:]))
    ]
    found = torch.autograd.grad(three.total, [logits, features])
    expected = torch.autograd.grad(torch.stack([pair.total for pair in pairs]).sum(), [logits, features])
    torch.testing.assert_close(found, expected)


def test_a_term_without_weight_leaves_no_trace() -> None:
    assert dsd.Config().taps == ("aux", "features", "logits")
    assert dsd.Config(missing_aux="logits").taps == ("features", "logits")
    assert dsd.Config(weights=dsd.Weights(pixel=0)).taps == ("logits",)
    assert dsd.Config(weights=dsd.Weights(pixel=0, category=0)).taps == ()


@DTYPES
@pytest.mark.parametrize("case", golden("DSD_PSD", "DSD_CSD", "DSD_ALL"))
def test_agrees_with_published_dsd(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    names = ("logits_s_aux", "feat_s", "logits_s")
    student = reference.leaves(*names)
    teacher = [reference[name] for name in ("logits_t_aux", "feat_t", "logits_t")]
    pixel = dsd.pixel_similarity(student, teacher).value
    category = dsd.category_similarity(student[-1], teacher[-1], temperature=reference.params["tau"]).value
    loss = {
        "DSD_PSD": pixel,
        "DSD_CSD": category,
        "DSD_ALL": reference.params["lambda_psd"] * pixel + reference.params["lambda_csd"] * category,
    }[case["method"]]
    reached = {name: leaf for name, leaf in zip(names, student, strict=True) if name in case["grads"]}
    reference.agrees(loss, **reached)

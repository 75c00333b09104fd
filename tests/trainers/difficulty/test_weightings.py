from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.data import IGNORE
from trainers.difficulty import (
    cross_entropy,
    focal,
    ohem,
    uniform,
    upsample,
    weighted_cross_entropy,
)
from trainers.difficulty.cross_entropy import max_probability, pixel_cross_entropy
from trainers.difficulty.ohem import hard_pixels
from trainers.testing import WeightingContract
from trainers.testing.taps import CLASSES, LABELS_SIZE, random_labels

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestUniform(WeightingContract):
    config = uniform.Config()


class TestUniformWithClassWeights(WeightingContract):
    config = uniform.Config(class_weights=(0.5, 1.0, 1.5, 2.0, 3.0))


class TestFocal(WeightingContract):
    config = focal.Config()


class TestFocalOfLowGamma(WeightingContract):
    config = focal.Config(gamma=0.5)


class TestOhem(WeightingContract):
    config = ohem.Config()


class TestOhemThatKeepsPixels(WeightingContract):
    config = ohem.Config(threshold=0.1, min_kept=2000, denominator="valid")
    additive = False


@pytest.fixture
def labels() -> Tensor:
    return random_labels(1)


@pytest.fixture
def logits() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return 2 * torch.randn(3, CLASSES, 9, 13, generator=generator, dtype=torch.float64)


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of every pixel by torch's own functions; an independent oracle."""
    full = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(full, labels, ignore_index=IGNORE, reduction="none")


def test_cross_entropy_of_one_pixel_by_hand() -> None:
    logits = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    losses = pixel_cross_entropy(logits, torch.tensor([[[0]]]))
    p = logits.exp().flatten() / logits.exp().sum()
    assert losses.cross_entropy.item() == pytest.approx(-p[0].log().item(), rel=1e-14)
    assert losses.confidence("target").item() == pytest.approx(p[0].item(), rel=1e-14)
    assert losses.confidence("max").item() == pytest.approx(p[1].item(), rel=1e-14)


@pytest.mark.parametrize("size", [LABELS_SIZE, (9, 13), (1, 1)])
@pytest.mark.parametrize("block", [1, 10_000, cross_entropy.CPU_BLOCK])
def test_pixel_cross_entropy_is_torchs_in_value_and_gradient(
    logits: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cross_entropy, "CPU_BLOCK", block)
    labels = labels[:, : size[0], : size[1]]
    before = logits.clone()
    upstream = torch.randn(labels.shape, dtype=torch.float64)
    outcomes = []
    for function in (plain, lambda *given: pixel_cross_entropy(*given).cross_entropy):
        leaf = logits.requires_grad_()
        losses = function(leaf, labels)
        outcomes.append((losses, *torch.autograd.grad((losses * upstream).sum(), leaf)))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-10, atol=1e-12)
    assert torch.equal(logits, before), "the caller's logits were written over"


def test_autocast_changes_nothing(logits: Tensor, labels: Tensor) -> None:
    found = []
    for enabled in (False, True):
        leaf = logits.float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = pixel_cross_entropy(leaf, labels)
            (gradient,) = torch.autograd.grad(losses.cross_entropy.sum(), leaf)
            found.append(torch.cat([*map(torch.flatten, (*losses, max_probability(leaf, labels), gradient))]))
    assert torch.equal(*found)


def test_max_probability_is_that_of_the_losses(logits: Tensor, labels: Tensor) -> None:
    assert torch.equal(max_probability(logits, labels), pixel_cross_entropy(logits, labels).max_probability)


def test_pixel_cross_entropy_can_be_differentiated_twice_over(logits: Tensor, labels: Tensor) -> None:
    loss = pixel_cross_entropy(logits.requires_grad_(), labels).cross_entropy.sum()
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_max_probability_is_that_of_the_upsampled_softmax(logits: Tensor, labels: Tensor) -> None:
    expected = upsample(logits, LABELS_SIZE).softmax(1).amax(1)
    losses = pixel_cross_entropy(logits.requires_grad_(), labels)
    torch.testing.assert_close(losses.max_probability, expected, rtol=1e-12, atol=0)
    assert not losses.max_probability.requires_grad
    assert not losses.confidence("target").requires_grad


def test_cross_entropy_survives_extreme_logits() -> None:
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    loss = weighted_cross_entropy(logits, torch.tensor([[[1]]])).value
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 2e4 and gradient.flatten().tolist() == [1, -1]


def test_denominators_count_all_valid_or_kept(logits: Tensor, labels: Tensor) -> None:
    mask = torch.rand(labels.shape) < 0.3
    class_weights = torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0], dtype=torch.float64)
    losses, valid = plain(logits, labels), labels != IGNORE
    table = class_weights[labels.masked_fill(~valid, 0)]
    for weight, factors in (
        (None, torch.ones(labels.shape)),
        (mask, mask.double()),
    ):
        counts = {
            "all": labels.numel(),
            "valid": int(valid.sum()),
            "kept": (factors * table)[valid].sum().item(),
        }
        for denominator, count in counts.items():
            mean = weighted_cross_entropy(logits, labels, weight, denominator=denominator, class_weights=class_weights)
            expected = (losses * factors * table).sum().item()
            assert mean.total.item() == pytest.approx(expected, rel=1e-12)
            assert mean.count.item() == pytest.approx(count, rel=1e-12)


def test_a_weight_map_is_upsampled_and_gets_no_gradient(logits: Tensor, labels: Tensor) -> None:
    weight = torch.rand(3, 9, 13, dtype=torch.float64, requires_grad=True)
    mean = weighted_cross_entropy(logits.requires_grad_(), labels, weight)
    full = upsample(weight[:, None], LABELS_SIZE)[:, 0].detach()
    expected = (plain(logits, labels) * full).sum().item()
    assert mean.total.item() == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(mean.value, weight, allow_unused=True)
    assert gradient is None


def test_nothing_kept_is_zero_with_a_live_graph(logits: Tensor, labels: Tensor) -> None:
    nothing = torch.zeros(labels.shape, dtype=torch.bool)
    for denominator in ("all", "valid", "kept"):
        leaf = logits.clone().requires_grad_()
        loss = weighted_cross_entropy(leaf, labels, nothing, denominator=denominator).value
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert loss == 0 and not gradient.any()


def test_class_weights_are_one_per_class(logits: Tensor, labels: Tensor) -> None:
    with pytest.raises(ValueError, match="one weight per class, but got 3 for 5 classes"):
        weighted_cross_entropy(logits, labels, class_weights=[1.0, 1.0, 1.0])


def test_upsampling_to_the_same_size_is_no_copy(logits: Tensor) -> None:
    assert upsample(logits, (9, 13)) is logits
    corners = upsample(logits, (17, 25))[..., ::16, ::24]
    torch.testing.assert_close(corners, logits[..., ::8, ::12])


def test_focal_has_a_slope_where_the_label_is_certain() -> None:
    logits = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    losses = pixel_cross_entropy(logits, torch.tensor([[[0]]])).cross_entropy
    (gradient,) = torch.autograd.grad(focal.focal(losses, 0.5).sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_weighs_by_the_doubt_in_the_label(gamma: float, logits: Tensor, labels: Tensor) -> None:
    weighting = focal.Weighting(focal.Config(gamma=gamma), num_classes=CLASSES, iterations=1)
    outcomes = []
    for _ in range(2):
        leaf = logits.clone().requires_grad_()
        if not outcomes:
            losses = plain(leaf, labels)[labels != IGNORE]
            loss = ((1 - torch.exp(-losses)) ** gamma * losses).mean()
        else:
            loss = weighting.terms({"logits": leaf}, None, labels, iteration=0)["main"].value
        outcomes.append((loss, *torch.autograd.grad(loss, leaf)))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-9, atol=1e-12)


def test_ohem_keeps_the_improbable_labels(logits: Tensor, labels: Tensor) -> None:
    config = ohem.Config(threshold=0.3)
    weighting = ohem.Weighting(config, num_classes=CLASSES, iterations=1)
    mean = weighting.terms({"logits": logits}, None, labels, iteration=0)["main"]
    losses = plain(logits, labels)[labels != IGNORE]
    kept = losses[torch.exp(-losses) <= 0.3]
    assert mean.count == len(kept) and 0 < len(kept) < len(losses)
    assert mean.value.item() == pytest.approx(kept.mean().item(), rel=1e-12)
    (told,) = weighting.class_shares.drain().values()
    assert told.sum(1).tolist() == [len(kept), len(losses)]


@pytest.mark.parametrize(
    ("threshold", "min_kept", "expected"),
    [
        (0.35, 0, [0.1, 0.2, 0.3]),
        (0.35, 2, [0.1, 0.2, 0.3]),
        (0.35, 5, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (0.35, 99, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        (0.3, 0, [0.1, 0.2, 0.3]),
        (0.05, 0, []),
    ],
)
def test_hard_pixels_by_hand(threshold: float, min_kept: int, expected: list[float]) -> None:
    confidence = torch.tensor([0.5, 0.1, 0.05, 0.3, 0.6, 0.2, 0.4], dtype=torch.float64)
    valid = confidence != 0.05
    hard = ohem.hard_pixels(confidence, valid, threshold=threshold, min_kept=min_kept)
    assert sorted(confidence[hard].tolist()) == expected


@DTYPES
@pytest.mark.parametrize("case", golden("CE", "CE_DSN"))
def test_agrees_with_published_cross_entropy(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    taps = {"logits": reference.leaves("logits_s")[0]}
    leaves = {"logits_s": taps["logits"]}
    if "aux_weight" in reference.params:
        taps["aux"] = leaves["logits_s_aux"] = reference.leaves("logits_s_aux")[0]
    config = uniform.Config(aux_weight=reference.params.get("aux_weight", 0.4))
    classes = taps["logits"].shape[1]
    weighting = uniform.Weighting(config, num_classes=classes, iterations=1)
    weights = weighting.weights(0)
    means = weighting.terms(taps, None, reference.labels, iteration=0)
    loss = torch.stack([weights[name] * mean.value for name, mean in means.items()]).sum()
    reference.agrees(loss, **leaves)


def test_class_weights_are_made_once_a_device() -> None:
    weighting = uniform.Weighting(uniform.Config(class_weights=(0.5, 1.5)), num_classes=2, iterations=1)
    made = weighting.class_weights(torch.device("cpu"))
    assert made is not None and made.tolist() == [0.5, 1.5]
    assert weighting.class_weights(torch.device("cpu")) is made
    assert uniform.Weighting(uniform.Config(), num_classes=2, iterations=1).class_weights(torch.device("cpu")) is None


@pytest.mark.parametrize("min_kept", [1, 7, 20, 40, 1000])
@pytest.mark.parametrize("levels", [3, 1000])  # ties, and hardly any
def test_the_least_confident_pixels_are_those_up_to_the_kth_value(min_kept: int, levels: int) -> None:
    draw = torch.Generator().manual_seed(levels)
    confidence = torch.randint(levels, (2, 4, 6), generator=draw) / levels
    valid = torch.rand(2, 4, 6, generator=draw) < 0.8
    ranked = confidence.masked_fill(~valid, torch.inf).flatten()
    kth = ranked.kthvalue(min(min_kept, ranked.numel())).values
    found = hard_pixels(confidence, valid, threshold=1e-3, min_kept=min_kept)
    assert torch.equal(found, valid & (confidence <= kth.clamp(min=1e-3)))

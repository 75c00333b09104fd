from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import golden
from tests.golden_cases import Reference
from trainers.data import IGNORE
from trainers.difficulty import rdd, upsample, weighted_cross_entropy
from trainers.testing import WeightingContract
from trainers.testing.taps import CLASSES, random_labels

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class TestPaper(WeightingContract):
    config = rdd.Config()


class TestPublished(WeightingContract):
    config = rdd.Config(
        divergence="aux_to_primary", confidence="target", denominator="kept", class_weights=(0.5, 1.0, 1.5, 2.0, 3.0)
    )


class TestPublishedMinKept(WeightingContract):
    config = rdd.Config(confidence="target", combine="or", threshold=0.1, min_kept=3000)
    additive = False


class TestFading(WeightingContract):
    config = rdd.Config(transition="linear", denominator="kept")
    steps = (0, 2, 10, 19)


class TestOhem(WeightingContract):
    config = rdd.Config(combine="ohem", tfe_denominator="kept")


def network(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = ("logits", "aux")
    return {name: scale * torch.randn(3, CLASSES, 9, 13, generator=generator, dtype=torch.float64) for name in names}


def weighting(iterations: int = 40, num_classes: int = CLASSES, **options: Any) -> rdd.Weighting:
    return rdd.Weighting(rdd.Config(**options), num_classes=num_classes, iterations=iterations)


def loss_of(weighting: rdd.Weighting, student: Any, teacher: Any, labels: Tensor, k: int) -> Tensor:
    """The task loss that the objective makes of the terms at 0-based iteration k."""
    weights = weighting.weights(k)
    means = weighting.terms(student, teacher, labels, iteration=k)
    return torch.stack([weights[name] * mean.value for name, mean in means.items()]).sum()


def test_tfe_weight_by_hand() -> None:
    p, q = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]], dtype=torch.float64)
    primary, aux = (x.log().view(1, 3, 1, 1) for x in (p, q))
    forward, backward = (p * (p / q).log()).sum(), (q * (q / p).log()).sum()
    assert rdd.tfe_weight(primary, aux).item() == pytest.approx(float((-forward).exp()))
    swapped = rdd.tfe_weight(primary, aux, divergence="aux_to_primary")
    assert swapped.item() == pytest.approx(float((-backward).exp()))
    assert rdd.tfe_weight(primary, primary + 3).item() == 1
    assert not rdd.tfe_weight(primary.requires_grad_(), aux).requires_grad


def test_heads_of_different_strides_are_compared_at_the_primary_ones_size() -> None:
    generator = torch.Generator().manual_seed(0)
    primary = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.float64)
    aux = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    enlarged = F.interpolate(aux, size=(8, 12), mode="bilinear", align_corners=True)
    expected = (enlarged.softmax(1).log() - primary.log_softmax(1)).mul(primary.softmax(1)).sum(1).exp()
    found = rdd.tfe_map({"logits": primary, "aux": aux}, torch.zeros(2, 8, 12, dtype=torch.long))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("combine", ["xor", "or", "and", "ohem"])
@pytest.mark.parametrize("confidence", ["max", "target"])
@pytest.mark.parametrize("min_kept", [0, 500, 10**9])
def test_tse_mask_pixel_by_pixel(combine: Any, confidence: Any, min_kept: int) -> None:
    student, teacher, labels = network(1)["logits"], network(2, 3.0)["logits"], random_labels(3)
    valid = labels != IGNORE

    def hard(logits: Tensor) -> Tensor:
        p = upsample(logits, labels.shape[-2:]).softmax(1)
        certainty = p.gather(1, labels.masked_fill(~valid, 0)[:, None])[:, 0]
        certainty = p.max(1).values if confidence == "max" else certainty
        ranked = certainty[valid].sort().values
        last = ranked[min(min_kept, len(ranked)) - 1] if min_kept else 0.0
        return valid & (certainty <= max(0.3, float(last) + 1e-12))

    s, t = hard(student), hard(teacher)
    expected = {"xor": s ^ t, "or": s | t, "and": s & t, "ohem": s}[combine]
    mask = rdd.tse_mask(
        student,
        teacher,
        labels,
        threshold=0.3,
        combine=combine,
        confidence=confidence,
        min_kept=min_kept,
    )
    assert mask.dtype == torch.bool
    assert torch.equal(mask, expected)


def test_stages_follow_the_iteration() -> None:
    student, teacher, labels = network(1), network(2, 3.0), random_labels(3)
    easy = rdd.tfe_weight(teacher["logits"], teacher["aux"])
    mask = rdd.tse_mask(student["logits"], teacher["logits"], labels)
    weights = {"tfe": easy, "tse": mask}
    expected = {
        stage: weighted_cross_entropy(student["logits"], labels, weight, denominator="all").value
        for stage, weight in weights.items()
    }
    cases = [(0.1, 3, "tfe"), (0.1, 4, "tse"), (0.0, 0, "tse"), (1.0, 39, "tfe"), (0.11, 4, "tse")]
    for fraction, iteration, stage in cases:
        means = weighting(tfe_fraction=fraction).terms(student, teacher, labels, iteration=iteration)
        assert means.keys() == {"main", "aux"}
        assert means["main"].value.item() == pytest.approx(expected[stage].item(), rel=1e-12)


def test_each_stage_tells_what_it_leaves_of_a_class() -> None:
    student, teacher, labels = network(1), network(2, 3.0), random_labels(3)
    easy = upsample(rdd.tfe_weight(teacher["logits"], teacher["aux"])[:, None], labels.shape[-2:])[:, 0]
    mask = rdd.tse_mask(student["logits"], teacher["logits"], labels)
    expected = {"tfe": easy, "tse": mask}
    stages = weighting(tfe_fraction=0.1, transition="linear")
    for iteration, names in ((0, {"tfe"}), (3, {"tfe"}), (4, {"tse", "tfe"}), (39, {"tse"})):
        stages.terms(student, teacher, labels, iteration=iteration)
        told = stages.class_shares.drain()
        assert told.keys() == names
        for name, sums in told.items():
            kept = [float(expected[name][labels == number].sum()) for number in range(CLASSES)]
            assert sums[0].tolist() == pytest.approx(kept, rel=1e-9)


def test_a_fading_stage_gives_way_to_the_next() -> None:
    fading = weighting(transition="linear", tfe_fraction=0.5)
    shares = [fading.tfe_share(iteration) for iteration in range(40)]
    assert shares[:20] == [1.0] * 20
    assert shares[20:] == pytest.approx([(40 - k) / 20 for k in range(21, 41)])
    halves = {"main": 0.5, "aux": 0.2, "aux_low": 0.2}
    assert fading.weights(29) == pytest.approx(halves | {f"{name}_tfe": half for name, half in halves.items()})
    only = weighting(transition="linear", tfe_fraction=1.0)
    assert only.tfe_share(39) == 1.0


def test_a_batch_mean_is_a_scale_only() -> None:
    student, teacher, labels = network(1), network(2, 3.0), random_labels(3)
    easy = rdd.tfe_weight(teacher["logits"], teacher["aux"])
    scale = upsample(easy[:, None], labels.shape[-2:]).mean()
    flat = weighting(tfe_fraction=1, tfe_map="batch_mean", tfe_denominator="valid")
    plain = weighted_cross_entropy(student["aux"], labels).value
    mean = flat.terms(student, teacher, labels, iteration=0)["aux"]
    assert mean.value.item() == pytest.approx((scale * plain).item(), rel=1e-12)


@pytest.mark.parametrize("teacher", [None, {"logits": network(2)["logits"]}])
def test_says_what_a_teacher_lacks(teacher: Any) -> None:
    with pytest.raises(ValueError, match=r"needs the teacher's .* tap.*choose a teacher with"):
        weighting().terms(network(1), teacher, random_labels(3), iteration=0)


def test_a_teacher_without_auxiliary_head_serves_tse_alone() -> None:
    alone = weighting(tfe_fraction=0, aux_weight=0)
    assert alone.teacher_taps == ("logits",)
    teacher = {"logits": network(2, 3.0)["logits"]}
    means = alone.terms(network(1), teacher, random_labels(3), iteration=0)
    assert means.keys() == {"main"} and means["main"].value > 0


BOTH = ("aux", "logits")


@pytest.mark.parametrize(
    ("options", "student", "early", "late"),
    [
        ({}, {"logits"}, BOTH, ("logits",)),
        ({}, {"logits", "aux"}, BOTH, BOTH),
        ({}, {"logits", "aux_low"}, BOTH, BOTH),
        ({"aux_weight": 0}, {"logits", "aux"}, BOTH, ("logits",)),
        ({"combine": "ohem"}, {"logits", "aux"}, BOTH, ()),
        ({"combine": "ohem", "tfe_fraction": 0}, {"logits", "aux"}, (), ()),
        ({"transition": "linear", "combine": "ohem"}, {"logits"}, BOTH, BOTH),
    ],
)
def test_what_is_read_of_the_teacher_depends_on_stage_and_student(
    options: dict[str, Any], student: set[str], early: tuple[str, ...], late: tuple[str, ...]
) -> None:
    made = weighting(**options)
    assert made.taps_at(0, student) == early
    assert made.taps_at(made.iterations - 2, student) == late


@DTYPES
@pytest.mark.parametrize("case", golden("RDD_TFE", "RDD_TFE_SCALAR"))
def test_agrees_with_published_tfe(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    scalar = case["method"] == "RDD_TFE_SCALAR"
    options: ClassVar[dict[str, Any]] = {"tfe_map": "batch_mean", "tfe_denominator": "valid"} if scalar else {}
    student, leaves = student_of(reference)
    teacher = teacher_of(reference)
    published = weighting(
        num_classes=student["logits"].shape[1],
        divergence="aux_to_primary",
        aux_weight=reference.params["aux_weight"],
        **options,
    )
    reference.agrees(loss_of(published, student, teacher, reference.labels, 0), **leaves)
    if not scalar and dtype == torch.float64:
        easy = rdd.tfe_weight(teacher["logits"], teacher["aux"], divergence="aux_to_primary")
        np.testing.assert_allclose(easy, reference.stored["out_weight_map_low"], rtol=1e-9)


@DTYPES
@pytest.mark.parametrize("case", golden("RDD_TFE_PAPER"))
def test_agrees_with_the_papers_tfe(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, teacher = reference["logits_s"], teacher_of(reference)
    easy = rdd.tfe_weight(teacher["logits"], teacher["aux"])
    rtol = 1e-9 if dtype == torch.float64 else 1e-4
    np.testing.assert_allclose(easy, reference.stored["out_weight_low"], rtol=rtol)
    for denominator, name in (("all", "out_loss_mean_HW"), ("valid", "out_loss_mean_valid")):
        mean = weighted_cross_entropy(student, reference.labels, easy, denominator=denominator)
        reference.agrees(mean.value, reference.stored[name])
    paper = weighting(num_classes=student.shape[1])
    reference.agrees(loss_of(paper, {"logits": student}, teacher, reference.labels, 0))


@DTYPES
@pytest.mark.parametrize("case", golden("RDD_TSE", "RDD_TSE_WEIGHTED", "RDD_TSE_AUX"))
def test_agrees_with_published_tse(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    params = reference.params
    student, leaves = student_of(reference)
    teacher = teacher_of(reference)
    for tap, suffix in {"logits": "", "aux": "_aux"}.items() if params["aux"] else [("logits", "")]:
        mask = rdd.tse_mask(
            student[tap],
            teacher[tap],
            reference.labels,
            threshold=params["thresh"],
            combine=params["method"].lower(),
            confidence="target",
            min_kept=params["min_kept"],
        )
        np.testing.assert_array_equal(mask, reference.stored[f"out_mask{suffix}"])
    published = published_tse(params, student["logits"].shape[1])
    reference.agrees(loss_of(published, student, teacher, reference.labels, 0), **leaves)


@DTYPES
@pytest.mark.parametrize("case", golden("RDD_TSE_PAPER"))
def test_agrees_with_the_papers_tse(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    student, leaves = student_of(reference)
    teacher, labels = teacher_of(reference), reference.labels
    combine, threshold = reference.params["method"].lower(), reference.params["thresh"]
    options: ClassVar[dict[str, Any]] = {"threshold": threshold, "combine": combine}
    mask = rdd.tse_mask(student["logits"], teacher["logits"], labels, **options)
    np.testing.assert_array_equal(mask, reference.stored["out_mask"])
    for denominator in ("valid", "kept"):
        mean = weighted_cross_entropy(student["logits"], labels, mask, denominator=denominator)
        reference.agrees(mean.value, reference.stored[f"out_loss_mean_{denominator}"])
    paper = weighting(num_classes=student["logits"].shape[1], tfe_fraction=0, **options)
    reference.agrees(loss_of(paper, student, teacher, labels, 0), **leaves)


@pytest.mark.parametrize("case", golden("RDD_TSE_EMPTY"))
def test_an_empty_mask_is_zero_where_published_code_is_nan(case: dict[str, Any]) -> None:
    reference = Reference(case)
    student, leaves = student_of(reference)
    empty = published_tse(reference.params, student["logits"].shape[1])
    loss = loss_of(empty, student, teacher_of(reference), reference.labels, 0)
    (gradient,) = torch.autograd.grad(loss, leaves["logits_s"])
    assert loss == 0 and not gradient.any()


@DTYPES
@pytest.mark.parametrize("case", golden("RDD_WARMUP_LAMBDA"))
def test_agrees_with_published_warm_up(case: dict[str, Any], dtype: torch.dtype) -> None:
    reference = Reference(case, dtype)
    params = reference.params
    student, leaves = student_of(reference)
    fading = published_tse(
        params,
        student["logits"].shape[1],
        iterations=params["max_iterations"],
        tfe_fraction=params["warmup_iter"] / params["max_iterations"],
        transition="linear",
        divergence="aux_to_primary",
    )
    iteration = params["iteration"] - 1  # published code counts from 1
    assert fading.tfe_share(iteration) == pytest.approx(float(reference.stored["out_lam"]))
    loss = loss_of(fading, student, teacher_of(reference), reference.labels, iteration)
    reference.agrees(loss, **leaves)


def published_tse(params: Any, num_classes: int, **options: Any) -> rdd.Weighting:
    class_weights = params.get("class_weights")
    return weighting(
        num_classes=num_classes,
        threshold=params["thresh"],
        combine=params["method"].lower(),
        confidence="target",
        min_kept=params["min_kept"],
        denominator="kept",
        aux_weight=params.get("aux_weight", 0.0),
        class_weights=class_weights and tuple(class_weights),
        **{"tfe_fraction": 0, **options},
    )


def student_of(reference: Reference) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The student's taps, and the same tensors under the names of the stored gradients."""
    names = {"logits": "logits_s"} | ({"aux": "logits_s_aux"} if reference.params.get("aux") else {})
    student = {tap: reference.leaves(name)[0] for tap, name in names.items()}
    return student, {name: student[tap] for tap, name in names.items()}


def teacher_of(reference: Reference) -> dict[str, Tensor]:
    names = {"logits": "logits_t", "aux": "logits_t_aux"}
    return {tap: reference[name] for tap, name in names.items() if name in reference.stored}

"""Maps of a student and a teacher against loops over pixels, and what each leaves of a class against counting."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.data import IGNORE
from trainers.difficulty import rdd, upsample
from trainers.difficulty.class_shares import ClassShares, mask_metrics
from trainers.difficulty.maps import MODES, DifficultyMaps, difficulty_maps
from trainers.testing.taps import CLASSES, random_labels

THRESHOLDS = (0.3, 0.5, 0.9)


def taps(seed: int, scale: float) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(3, CLASSES, 9, 13, generator=generator).double() for name in ("logits", "aux")}


@pytest.fixture
def labels() -> Tensor:
    return random_labels(3)


def maps_of(labels: Tensor, **options: Any) -> DifficultyMaps:
    return difficulty_maps(taps(1, 1.0), taps(2, 3.0), labels, config=rdd.Config(**options), thresholds=THRESHOLDS)


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("confidence", ["max", "target"])
def test_every_map_pixel_by_pixel(labels: Tensor, confidence: Any) -> None:
    maps = maps_of(labels, confidence=confidence)
    full = {seed: upsample(taps(seed, scale)["logits"], labels.shape[-2:]) for seed, scale in ((1, 1.0), (2, 3.0))}
    for place in [(0, 31, 5), (0, 2, 2), (1, 0, 0), (1, 40, 96), (2, 64, 50), (2, 17, 33), (2, 18, 33)]:
        image, row, column = place
        label = int(labels[place])
        sure = []
        for seed in (1, 2):
            p = softmax(full[seed][image, :, row, column].tolist())
            sure.append(max(p) if confidence == "max" else 1.0 if label == IGNORE else p[label])
        assert maps.student_confidence[place].item() == pytest.approx(sure[0], rel=1e-9)
        assert maps.teacher_confidence[place].item() == pytest.approx(sure[1], rel=1e-9)
        for t in THRESHOLDS:
            ours, theirs = (label != IGNORE and value <= t for value in sure)
            assert (bool(maps.student_hard[t][place]), bool(maps.teacher_hard[t][place])) == (ours, theirs)
            expected = {"xor": ours != theirs, "or": ours or theirs, "and": ours and theirs}
            assert {mode: bool(maps.masks[mode][t][place]) for mode in MODES} == expected
    assert maps.masks["xor"][0.5].any() and not maps.masks["xor"][0.5].all()


@pytest.mark.parametrize("divergence", ["primary_to_aux", "aux_to_primary"])
def test_the_tfe_weight_falls_with_the_divergence_of_the_teachers_heads(labels: Tensor, divergence: Any) -> None:
    weight = maps_of(labels, divergence=divergence).tfe_weight
    assert weight is not None and weight.shape == labels.shape
    teacher = taps(2, 3.0)
    for row, column in ((0, 0), (3, 7), (8, 12)):  # 8 pixels of the labels stand for one of the logits
        p, q = (softmax(teacher[name][1, :, row, column].tolist()) for name in ("logits", "aux"))
        p, q = (p, q) if divergence == "primary_to_aux" else (q, p)
        distance = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert weight[1, 8 * row, 8 * column].item() == pytest.approx(math.exp(-distance), rel=1e-9)


def test_a_training_masks_the_same_pixels(labels: Tensor) -> None:
    student, teacher = taps(1, 1.0), taps(2, 3.0)
    for mode in MODES:
        mask = rdd.tse_mask(student["logits"], teacher["logits"], labels, threshold=0.5, combine=mode)
        assert torch.equal(maps_of(labels).masks[mode][0.5], mask)


def test_a_teacher_without_auxiliary_head_has_no_tfe_weight(labels: Tensor) -> None:
    teacher = {"logits": taps(2, 3.0)["logits"]}
    maps = difficulty_maps(taps(1, 1.0), teacher, labels, config=rdd.Config(), thresholds=(0.7,))
    assert maps.tfe_weight is None
    assert [name for name, _, _ in maps.weights()] == ["student_hard", "teacher_hard", *MODES]


def test_shares_are_those_of_counting_pixel_by_pixel(labels: Tensor) -> None:
    mask = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    weight = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2))
    shares: ClassShares[str] = ClassShares(CLASSES)
    for _ in range(2):
        shares.add("mask", labels, mask)
    shares.add("weight", labels, weight)
    found = shares.drain()
    for number in range(CLASSES):
        of_class = labels == number
        assert found["mask"][:, number].tolist() == [2 * int((of_class & mask).sum()), 2 * int(of_class.sum())]
        assert found["weight"][0, number].item() == pytest.approx(sum(weight[of_class].tolist()), rel=1e-12)
        assert 0 < found["mask"][0, number] < found["mask"][1, number]
    assert shares.drain() == {}


def test_only_classes_with_labelled_pixels_are_told_of() -> None:
    shares: ClassShares[str] = ClassShares(3)
    ignored = torch.full((1, 4, 4), IGNORE)
    shares.add("tse", ignored, torch.ones(1, 4, 4))
    assert mask_metrics(shares.drain(), ("sky", "road", "car")) == {}
    some = ignored.clone()
    some[0, 0] = 1
    shares.add("tse", some, torch.eye(4).unsqueeze(0))
    assert mask_metrics(shares.drain(), ("sky", "road/lane", "car")) == {
        "mask/tse/kept_pixels/road/lane": 1.0, "mask/tse/valid_pixels/road/lane": 4.0,
    }  # fmt: skip

"""The distiller: which methods it builds, and what it lets them compare."""

from typing import Any

import pytest
import torch

from tests.trainers import small
from trainers.data import streets
from trainers.distillation.distiller import Distiller, on_the_grid_of
from trainers.teachers.recordings.reads import taps_read

CLASSES = len(streets.Dataset.class_names)
CHANNELS = {"logits": CLASSES, "aux": CLASSES, "features": 8}


def distiller(**methods: Any) -> Distiller:
    torch.manual_seed(0)
    return Distiller(small.trial({"methods": methods}), num_classes=CLASSES, teacher_channels=CHANNELS)


def test_a_method_without_any_weight_is_left_out() -> None:
    made = distiller(kd={"weights": {"pixel": 0}}, skd={"weights": {"holistic": 0}})
    assert list(made.methods) == ["skd"]
    assert not made.adversaries()
    assert list(distiller(skd={}).adversaries()) == ["skd"]


def test_methods_need_a_teacher_unless_they_are_left_out() -> None:
    with pytest.raises(ValueError, match=r"^kd compare"):
        Distiller(small.trial({"methods": {"kd": {}}}), num_classes=CLASSES, teacher_channels=None)
    Distiller(small.trial({"methods": {"kd": {"weights": {"pixel": 0}}}}), num_classes=CLASSES, teacher_channels=None)


def test_it_knows_which_taps_of_the_teacher_are_read_when() -> None:
    rdd = {"task": {"weighting": "rdd", "tfe_fraction": 0.5}, "student/aux": False}
    for changes, first, last in (
        ({}, set(), set()),
        ({"methods": {"kd": {}, "fitnet": {}}}, {"logits", "features"}, {"logits", "features"}),
        (
            {"methods": {"dsd": {"missing_aux": "logits"}}, "student/aux": False},
            {"logits", "features", "aux"},
            {"logits", "features", "aux"},
        ),
        ({"methods": {"fitnet": {}}, **rdd}, {"logits", "features", "aux"}, {"logits", "features"}),
    ):
        config = small.trial({**changes, "teacher/path": "unread"})
        made = Distiller(config, num_classes=CLASSES, teacher_channels=CHANNELS)
        for mode in (True, False):
            made.train(mode)
            assert (made.teacher_taps(0), made.teacher_taps(6)) == (first, last)
        read = taps_read(config, teacher=CHANNELS, num_classes=CLASSES)
        assert {tap for tap, stop in read.items() if stop > 0} == first | last
        assert {tap for tap, stop in read.items() if stop > 6} == last


def test_maps_of_another_stride_are_compared_on_the_teachers_grid() -> None:
    teacher = {"logits": torch.zeros(1, 2, 4, 6), "features": torch.zeros(1, 3, 4, 6)}
    ramp = torch.linspace(0, 1, 11).expand(1, 2, 7, 11)
    student = {"logits": ramp, "features": torch.rand(1, 5, 4, 6), "aux_low": torch.zeros(1, 2, 2, 3)}
    found = on_the_grid_of(teacher, student)
    torch.testing.assert_close(found["logits"], torch.linspace(0, 1, 6).expand(1, 2, 4, 6))
    assert found["features"] is student["features"]
    assert found["aux_low"] is student["aux_low"]


def test_a_student_of_another_stride_learns_from_the_teacher() -> None:
    made = distiller(kd={}, skd={})
    taps = {"logits": torch.randn(2, CLASSES, 9, 13), "features": torch.randn(2, 8, 9, 13)}
    images, labels = torch.randn(2, 3, 32, 48), torch.zeros(2, 32, 48, dtype=torch.int64)
    terms, student = made(images, labels, taps, 0)
    assert student["logits"].shape == taps["logits"].shape
    assert not student["logits"].requires_grad
    torch.stack([mean.value for mean in terms.values()]).sum().backward()
    critic = made.adversaries()["skd"]
    critic.unfreeze()
    assert {mean.value.isfinite().item() for mean in critic(student, taps).values()} == {True}

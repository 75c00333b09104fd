"""What every distillation method promises."""

import dataclasses
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from trainers.data import IGNORE
from trainers.distributed.means import Mean
from trainers.models import Taps
from trainers.testing.configs import ConfigContract
from trainers.testing.taps import (
    CLASSES,
    STUDENT_CHANNELS,
    TEACHER_CHANNELS,
    RandomBatch,
    assert_zero_gradient,
    halves,
    joined,
    leaves,
    total,
    values,
)


class MethodContract(RandomBatch, ConfigContract):
    """A file of trainers/methods."""

    zero_at_equality: ClassVar[bool] = True
    """Whether every term is 0, and so at its minimum, where student equals teacher."""
    additive: ClassVar[bool] = True
    """Whether a batch over two ranks is its halves' totals and counts added up."""

    def method(self, seed: int = 0, *, teacher_channels: dict[str, int] | None = None) -> Any:
        torch.manual_seed(seed)
        return self.module.Method(
            self.config,
            student_channels=STUDENT_CHANNELS,
            teacher_channels=teacher_channels or TEACHER_CHANNELS,
            num_classes=CLASSES,
        )

    def terms(self, student: Taps, teacher: Taps, labels: Tensor, seed: int = 0) -> dict[str, Mean]:
        method = self.method(seed)
        torch.manual_seed(seed)
        terms: dict[str, Mean] = method.terms(student, teacher, labels)
        return terms

    def test_one_finite_term_per_weight(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        means = self.terms(student, teacher, labels)
        assert means.keys() == {name for name, weight in dataclasses.asdict(self.config.weights).items() if weight}
        for mean in means.values():
            assert mean.total.ndim == mean.count.ndim == 0
            assert mean.value.isfinite() and mean.count > 0

    def test_reads_no_other_taps_of_the_teacher_than_it_declares(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        declared = {name: teacher[name] for name in self.method().teacher_taps(self.config, teacher)}
        assert values(self.terms(student, declared, labels)) == values(self.terms(student, teacher, labels))

    def test_is_zero_where_student_equals_teacher(self, student: Taps, labels: Tensor) -> None:
        method = self.method(teacher_channels=STUDENT_CHANNELS)
        means = method.terms(student, {n: t.detach() for n, t in student.items()}, labels)
        assert (values(means) == pytest.approx(dict.fromkeys(means, 0.0), abs=1e-6)) == self.zero_at_equality
        (gradient,) = torch.autograd.grad(total(means), student[self.config.taps[0]])
        assert (gradient.abs().max() < 1e-6) == self.zero_at_equality

    def test_gradient_reaches_student_and_adapters_but_not_the_teacher(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        method = self.method()
        total(method.terms(student, teacher, labels)).backward()  # type: ignore[no-untyped-call]
        for name, tap in student.items():
            reached = tap.grad is not None and bool(tap.grad.any())
            assert reached == (name in self.config.taps), name
        assert all(tap.grad is None for tap in teacher.values())
        for name, parameter in method.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
            assert parameter.grad is None or parameter.grad.isfinite().all(), name

    def test_a_pixel_without_any_feature_gets_no_great_gradient(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        blank = {name: tap.detach().clone() for name, tap in student.items()}
        for tap in blank.values():
            tap[:, :, 4:6, 4:6] = 0
        largest = []
        for taps in (leaves(student), leaves(blank)):
            total(self.terms(taps, teacher, labels)).backward()  # type: ignore[no-untyped-call]
            grads = [grad for name in self.config.taps if (grad := taps[name].grad) is not None]
            largest.append(max(float(grad.abs().max()) for grad in grads))
        assert largest[1] < 100 * largest[0]

    def test_bfloat16_taps_give_nearly_the_same(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        exact = values(self.terms(student, teacher, labels))
        with torch.autocast("cpu", torch.bfloat16):
            half = self.terms(leaves(student, torch.bfloat16), leaves(teacher, torch.bfloat16), labels)
        assert all(mean.total.dtype == torch.float32 for mean in half.values())
        assert values(half) == pytest.approx(exact, rel=0.05)

    def test_is_deterministic(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        once = self.terms(student, teacher, labels)
        again = self.terms(student, teacher, labels)
        assert values(once) == values(again)

    def test_state_dict_holds_all_that_decides_the_terms(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        used, fresh = self.method(0), self.method(1)
        used.terms(student, teacher, labels)
        fresh.load_state_dict(used.state_dict())
        outcomes = []
        for method in (used, fresh):
            torch.manual_seed(4)
            outcomes.append(values(method.terms(student, teacher, labels)))
        assert outcomes[0] == outcomes[1]

    def test_two_uneven_ranks_make_one(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        parts = [
            self.terms(s, t, part)
            for s, t, part in zip(halves(student), halves(teacher), (labels[:1], labels[1:]), strict=True)
        ]
        whole = values(self.terms(student, teacher, labels))
        assert (joined(*parts) == pytest.approx(whole, rel=1e-4)) == self.additive


class LabelledMethodContract(MethodContract):
    """One that reads labels."""

    blind_to_unlabelled: ClassVar[bool] = True
    """Whether what lies under unlabelled pixels changes no term."""

    def test_unlabelled_pixels_change_nothing(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        labels = labels.clone()
        labels[:, :, 40:] = IGNORE  # of 97; the nearest label of columns from 6 on, of 13, lies beyond
        others = [
            {name: torch.cat([tap[..., :6], -2 * tap[..., 6:]], -1) for name, tap in taps.items()}
            for taps in (student, teacher)
        ]
        expected = pytest.approx(values(self.terms(student, teacher, labels)), rel=1e-6)
        assert (values(self.terms(others[0], others[1], labels)) == expected) == self.blind_to_unlabelled

    def test_unlabelled_batch_gives_zero_with_a_live_graph(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        loss = total(self.terms(student, teacher, torch.full_like(labels, IGNORE)))
        assert loss.item() == 0
        assert_zero_gradient(loss, student)

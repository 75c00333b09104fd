"""What every weighting of the task loss promises."""

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
    RandomBatch,
    assert_zero_gradient,
    halves,
    joined,
    leaves,
    total,
    values,
)


class WeightingContract(RandomBatch, ConfigContract):
    """A file of trainers/difficulty."""

    iterations: ClassVar[int] = 20
    steps: ClassVar[tuple[int, ...]] = (0, 19)
    """0-based iterations that the promises are kept at."""
    additive: ClassVar[bool] = True
    """Whether a batch over two ranks is its halves' totals and counts added up, at all steps."""

    def weighting(self, **changes: Any) -> Any:
        config = dataclasses.replace(self.config, **changes)
        return self.module.Weighting(config, num_classes=CLASSES, iterations=self.iterations)

    def test_early_stopping_is_told_when_to_compare(self) -> None:
        stop = self.config.earliest_stop(self.iterations)
        assert stop is None or 0 <= stop <= self.iterations

    def terms(self, student: Taps, teacher: Taps, labels: Tensor, step: int) -> dict[str, Mean]:
        weighting = self.weighting()
        given = {name: teacher[name] for name in weighting.teacher_taps}
        means: dict[str, Mean] = weighting.terms(student, given or None, labels, iteration=step)
        assert weighting.config.needs_teacher == bool(given)
        assert means.keys() <= weighting.weights(step).keys()
        return means

    def test_reads_no_other_taps_of_the_teacher_than_it_declares(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        for step in self.steps:
            for taps in (student, {"logits": student["logits"]}):
                weighting = self.weighting()
                declared = weighting.taps_at(step, taps)
                assert set(declared) <= set(weighting.teacher_taps)
                given = {name: teacher[name] for name in declared}
                found = values(weighting.terms(taps, given, labels, iteration=step))
                assert found == values(self.terms(taps, teacher, labels, step))

    def test_every_head_has_a_positive_finite_loss(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        for step in self.steps:
            means = self.terms(student, teacher, labels, step)
            assert {"main", "aux"} <= means.keys()
            for mean in means.values():
                assert mean.total.ndim == mean.count.ndim == 0
                assert mean.value.isfinite() and mean.value > 0

    def test_the_auxiliary_head_may_be_absent_or_off(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        for step in self.steps:
            both = self.terms(student, teacher, labels, step)
            headless = {"logits": student["logits"]}
            alone = self.terms(headless, teacher, labels, step)
            off = self.weighting(aux_weight=0.0)
            without = off.terms(student, teacher, labels, iteration=step)
            expected = {n: v for n, v in values(both).items() if not n.startswith("aux")}
            assert values(alone) == values(without) == expected

    def test_a_second_auxiliary_head_counts_like_the_first(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        student["aux_low"] = student["aux"]
        for step in self.steps:
            means, weights = values(self.terms(student, teacher, labels, step)), self.weighting().weights(step)
            assert means["aux_low"] == means["aux"] and weights["aux_low"] == weights["aux"]

    def test_gradient_reaches_both_heads_but_not_the_teacher(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        for step in self.steps:
            taps = leaves(student)
            total(self.terms(taps, teacher, labels, step)).backward()  # type: ignore[no-untyped-call]
            for name in ("logits", "aux"):
                assert (grad := taps[name].grad) is not None and grad.any()
            assert all(tap.grad is None for tap in teacher.values())

    def test_unlabelled_pixels_change_nothing(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        labels = labels.clone()
        labels[:, :, 40:] = IGNORE  # 8 pixels a column: columns from 6 on are seen beyond 40 only
        for step in self.steps:
            taps = leaves(student)
            means = self.terms(taps, teacher, labels, step)
            total(means).backward()  # type: ignore[no-untyped-call]
            others = [
                {n: torch.cat([tap[..., :6], -2 * tap[..., 6:]], -1) for n, tap in net.items()}
                for net in (student, teacher)
            ]
            assert values(self.terms(others[0], others[1], labels, step)) == values(means)
            grads = [taps[name].grad for name in ("logits", "aux")]
            assert all(grad is not None and not grad[..., 6:].any() for grad in grads)

    def test_unlabelled_batch_gives_zero_with_a_live_graph(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        for step in self.steps:
            loss = total(self.terms(student, teacher, torch.full_like(labels, IGNORE), step))
            assert loss.item() == 0
            assert_zero_gradient(loss, {name: student[name] for name in ("logits", "aux")})

    def test_bfloat16_taps_are_lifted_before_any_arithmetic(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        for step in self.steps:
            nets = [leaves(net, torch.bfloat16) for net in (student, teacher)]
            half = self.terms(nets[0], nets[1], labels, step)
            lifted = self.terms(leaves(nets[0]), leaves(nets[1]), labels, step)
            exact = self.terms(student, teacher, labels, step)
            assert values(half) == values(lifted)
            assert values(half) == pytest.approx(values(exact), rel=0.02)

    def test_is_deterministic(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        for step in self.steps:
            once = self.terms(student, teacher, labels, step)
            assert values(once) == values(self.terms(student, teacher, labels, step))

    def test_two_uneven_ranks_make_one(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        agreed = []
        for step in self.steps:
            parts = [
                self.terms(s, t, part, step)
                for s, t, part in zip(halves(student), halves(teacher), (labels[:1], labels[1:]), strict=True)
            ]
            whole = values(self.terms(student, teacher, labels, step))
            agreed.append(joined(*parts) == pytest.approx(whole, rel=1e-5))
        assert all(agreed) == self.additive

    def test_what_it_tells_of_classes_are_shares_of_their_labelled_pixels(
        self, student: Taps, teacher: Taps, labels: Tensor
    ) -> None:
        weighting, unlabelled = self.weighting(), torch.full_like(labels, IGNORE)
        counts = [int((labels == number).sum()) for number in range(CLASSES)]
        for step in self.steps:
            for given, expected in ((labels, counts), (unlabelled, [0] * CLASSES)):
                weighting.terms(student, teacher, given, iteration=step)
                for sums in weighting.class_shares.drain().values():
                    assert sums[1].tolist() == expected
                    assert (sums[0] >= 0).all() and (sums[0] <= sums[1]).all()

    def test_class_weights_are_one_per_class(self) -> None:
        with pytest.raises(ValueError, match=rf"got {CLASSES + 1} for {CLASSES} classes"):
            self.weighting(class_weights=(1.0,) * (CLASSES + 1))

"""What every implementation behind a seam promises, as test classes to inherit.

A test of a network, method or weighting subclasses the contract, names its module, and adds its
own formulas. The shapes are small and odd: three images, so that two ranks get uneven halves.
"""

import dataclasses
import json
import socket
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers import models
from trainers.data import IGNORE
from trainers.distributed.means import Mean
from trainers.models import SegmentationNetwork, Taps

CLASSES = 5
STUDENT_CHANNELS = {"logits": CLASSES, "aux": CLASSES, "features": 6}
TEACHER_CHANNELS = {"logits": CLASSES, "aux": CLASSES, "features": 8}
LOGITS_SIZE = (9, 13)
LABELS_SIZE = (65, 97)


def random_taps(channels: dict[str, int], seed: int, *, scale: float = 1.0) -> Taps:
    generator = torch.Generator().manual_seed(seed)
    taps = {name: scale * torch.randn(3, count, *LOGITS_SIZE, generator=generator) for name, count in channels.items()}
    taps["features"] = taps["features"].relu()
    return taps


def random_labels(seed: int) -> Tensor:
    """Blocks of classes, like real label maps, with unlabelled pixels unevenly over the images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(CLASSES, (3, 9, 13), generator=generator)
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels = labels[:, : LABELS_SIZE[0], : LABELS_SIZE[1]].clone()
    labels[0, :30] = IGNORE
    labels[torch.rand(labels.shape, generator=generator) < 0.05] = IGNORE
    return labels


def leaves(taps: Taps, dtype: torch.dtype = torch.float32) -> Taps:
    return {name: tap.to(dtype).detach().clone().requires_grad_() for name, tap in taps.items()}


def total(means: dict[str, Mean]) -> Tensor:
    return torch.stack([mean.value for mean in means.values()]).sum()


def values(means: dict[str, Mean]) -> dict[str, float]:
    return {name: mean.value.item() for name, mean in means.items()}


def halves(taps: Taps) -> tuple[Taps, Taps]:
    return {n: tap[:1] for n, tap in taps.items()}, {n: tap[1:] for n, tap in taps.items()}


def joined(first: dict[str, Mean], second: dict[str, Mean]) -> dict[str, float]:
    """What `global_means` makes of two ranks, without processes."""
    return {
        name: ((mean.total + second[name].total) / (mean.count + second[name].count)).item()
        for name, mean in first.items()
    }


def round_trip(config: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(config))
    assert adapter.validate_python(json.loads(adapter.dump_json(config))) == config
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, None)


class ConfigContract:
    module: ClassVar[ModuleType]
    options: ClassVar[dict[str, Any]] = {}
    """Fields of the Config under test; the contracts hold for the defaults and for these."""

    @property
    def config(self) -> Any:
        return self.module.Config(**self.options)

    def test_config_round_trips_and_is_frozen(self) -> None:
        round_trip(self.module.Config())
        round_trip(self.config)


class ModelContract(ConfigContract):
    """A file of trainers/models; `options` make it as small as it gets."""

    strides: ClassVar[dict[str, int]]
    """Of every tap in training mode."""
    training_only: ClassVar[set[str]] = set()
    """Taps that evaluation mode has not."""
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((64, 96), (96, 128), (97, 131))
    bf16_error: ClassVar[float] = 0.1
    """Of a tap's norm."""

    @classmethod
    def tap_size(cls, size: int, stride: int) -> int:
        return -(-size // stride)

    @pytest.fixture(autouse=True)
    def _offline_and_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("a network must be built without the network")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        torch.set_num_threads(1)
        torch.manual_seed(0)

    def network(self, **changes: Any) -> SegmentationNetwork:
        return models.build(dataclasses.replace(self.config, **changes), num_classes=CLASSES)

    def images(self, batch: int = 2, size: tuple[int, int] | None = None) -> Tensor:
        return torch.randn(batch, 3, *(size or self.sizes[0]))

    def test_its_name_is_its_files(self) -> None:
        name = self.module.__name__.rpartition(".")[2]
        assert self.module.Config().architecture == name
        assert models.named(name) == self.module.Config()

    def test_one_image_of_any_size_gives_the_declared_taps(self) -> None:
        network = self.network().eval()
        assert network.channels.keys() == self.strides.keys() - self.training_only
        for size in self.sizes:
            with torch.no_grad():
                taps = network(self.images(1, size))
            assert {name: tap.shape[1] for name, tap in taps.items()} == network.channels
            for name, tap in taps.items():
                assert tap.shape[2:] == tuple(self.tap_size(side, self.strides[name]) for side in size), name

    @pytest.mark.parametrize("wanted", [{"logits"}, {"logits", "features"}])
    def test_taps_that_are_not_wanted_change_no_bit_of_the_others(self, wanted: set[str]) -> None:
        network, images = self.network().eval(), self.images(1)
        with torch.no_grad():
            whole, some = network(images), network.taps_of(images, wanted)
        assert wanted <= some.keys() <= whole.keys()
        assert all(torch.equal(tap, whole[name]) for name, tap in some.items())

    def test_gradient_reaches_every_parameter_by_all_taps(self) -> None:
        network = self.network(**({"dropout": False} if hasattr(self.config, "dropout") else {})).train()
        for part in network.modules():  # timm starts some at 0, which shuts their block until a step
            if isinstance(part, nn.BatchNorm2d):
                nn.init.ones_(part.weight)
        taps = network(self.images())
        assert taps.keys() == network.channels.keys() == self.strides.keys()
        torch.stack([tap.square().mean() for tap in taps.values()]).sum().backward()
        trained = {name: part.grad for name, part in network.named_parameters() if part.requires_grad}
        assert [name for name, grad in trained.items() if grad is None or not grad.any()] == []
        assert all(grad.isfinite().all() for grad in trained.values() if grad is not None)

    def test_bf16_autocast_is_near_fp32(self) -> None:
        network, images = self.network().eval(), self.images()
        with torch.no_grad():
            full = network(images)
            with torch.autocast("cpu", torch.bfloat16):
                half = network(images)
        assert half["logits"].dtype == torch.bfloat16
        for name, tap in full.items():
            assert (half[name].float() - tap).norm() < self.bf16_error * tap.norm(), name

    def test_bf16_autocast_trains(self) -> None:
        network = self.network().train()
        with torch.autocast("cpu", torch.bfloat16):
            taps = network(self.images())
        torch.stack([tap.float().square().mean() for tap in taps.values()]).sum().backward()
        assert all(part.grad is None or part.grad.isfinite().all() for part in network.parameters())

    def test_meta_device_has_the_same_tensors_without_values(self) -> None:
        with torch.device("meta"):
            network = self.network()
            taps = network.eval()(self.images(1))
        meta, real = network.state_dict(), self.network().state_dict()
        assert {name: tensor.shape for name, tensor in meta.items()} == {n: t.shape for n, t in real.items()}
        assert all(tensor.is_meta for tensor in (*meta.values(), *taps.values()))

    def test_state_dict_decides_the_output(self, tmp_path: Path) -> None:
        first, second, images = self.network(), self.network(), self.images()
        with torch.no_grad():
            first(images)  # moves the running statistics
            save_file(first.state_dict(), tmp_path / "saved.safetensors")  # which refuses tensors that share memory
            second.load_state_dict(load_file(tmp_path / "saved.safetensors"))
            expected, found = first.eval()(images), second.eval()(images)
        assert all(torch.equal(found[name], tap) for name, tap in expected.items())

    def test_training_is_random_by_dropout_alone(self) -> None:
        images = self.images()
        for dropout in (True, False) if hasattr(self.config, "dropout") else (False,):
            network = self.network(**({"dropout": dropout} if hasattr(self.config, "dropout") else {})).train()
            with torch.no_grad():
                first, second = network(images), network(images)
            assert torch.equal(first["logits"], second["logits"]) == (not dropout)


class MethodContract(ConfigContract):
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
        return method.terms(student, teacher, labels)

    @pytest.fixture
    def student(self) -> Taps:
        return leaves(random_taps(STUDENT_CHANNELS, 1))

    @pytest.fixture
    def teacher(self) -> Taps:
        return leaves(random_taps(TEACHER_CHANNELS, 2, scale=2.0))

    @pytest.fixture
    def labels(self) -> Tensor:
        return random_labels(3)

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
        total(method.terms(student, teacher, labels)).backward()
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
            total(self.terms(taps, teacher, labels)).backward()
            largest.append(max(float(taps[name].grad.abs().max()) for name in self.config.taps))
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


class WeightingContract(ConfigContract):
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
        means = weighting.terms(student, given or None, labels, iteration=step)
        assert weighting.config.needs_teacher == bool(given)
        assert means.keys() <= weighting.weights(step).keys()
        return means

    @pytest.fixture
    def student(self) -> Taps:
        return leaves(random_taps(STUDENT_CHANNELS, 1))

    @pytest.fixture
    def teacher(self) -> Taps:
        return leaves(random_taps(TEACHER_CHANNELS, 2, scale=2.0))

    @pytest.fixture
    def labels(self) -> Tensor:
        return random_labels(3)

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
            total(self.terms(taps, teacher, labels, step)).backward()
            for name in ("logits", "aux"):
                assert taps[name].grad is not None and taps[name].grad.any()
            assert all(tap.grad is None for tap in teacher.values())

    def test_unlabelled_pixels_change_nothing(self, student: Taps, teacher: Taps, labels: Tensor) -> None:
        labels = labels.clone()
        labels[:, :, 40:] = IGNORE  # 8 pixels a column: columns from 6 on are seen beyond 40 only
        for step in self.steps:
            taps = leaves(student)
            means = self.terms(taps, teacher, labels, step)
            total(means).backward()
            others = [
                {n: torch.cat([tap[..., :6], -2 * tap[..., 6:]], -1) for n, tap in net.items()}
                for net in (student, teacher)
            ]
            assert values(self.terms(others[0], others[1], labels, step)) == values(means)
            assert all(not taps[name].grad[..., 6:].any() for name in ("logits", "aux"))

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


def assert_zero_gradient(loss: Tensor, taps: Taps) -> None:
    gradients = torch.autograd.grad(loss, list(taps.values()), allow_unused=True)
    assert any(gradient is not None for gradient in gradients), "the graph is dead"
    for gradient in gradients:
        assert gradient is None or not gradient.any()

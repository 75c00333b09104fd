"""What every network promises."""

import dataclasses
import socket
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers import models
from trainers.distillation.gradients import last_map
from trainers.models import SegmentationNetwork
from trainers.plugins.content import written_name
from trainers.testing.configs import ConfigContract
from trainers.testing.taps import CLASSES


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
        assert self.config.architecture == written_name(self.module.__name__)

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
        torch.stack([tap.square().mean() for tap in taps.values()]).sum().backward()  # type: ignore[no-untyped-call]
        trained = {name: part.grad for name, part in network.named_parameters() if part.requires_grad}
        assert [name for name, grad in trained.items() if grad is None or not grad.any()] == []
        assert all(grad.isfinite().all() for grad in trained.values() if grad is not None)

    def test_logits_come_from_the_features(self) -> None:
        taps = self.network().train()(self.images())
        (gradient,) = torch.autograd.grad(taps["logits"].square().mean(), last_map(taps))
        assert gradient.any()

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
        torch.stack([tap.float().square().mean() for tap in taps.values()]).sum().backward()  # type: ignore[no-untyped-call]
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

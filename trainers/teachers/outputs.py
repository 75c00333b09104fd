"""What a training step needs of a teacher: its outputs for the images of an iteration."""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from trainers.models import Taps
from trainers.teachers.teacher import Teacher


class TeacherOutputs(Protocol):
    """A teacher as training steps use it."""

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of every tap, by name."""
        ...

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        """The taps, at least those that the trial reads at this iteration, without a graph.

        Args:
            images: RGB uint8 [B, 3, H, W], those of the iteration.
            dtype: of the normalised images.
            iteration: 0-based step of the trial.
        """
        ...


class LazyTeacher:
    """A teacher that is read from its file when it is first asked; all its taps at every iteration.

    Args:
        channels: of every tap.
        network: reads the teacher onto its device.
    """

    def __init__(self, channels: Mapping[str, int], network: Callable[[], Teacher]) -> None:
        self.channels = channels
        self._network = network
        self._teacher: Teacher | None = None

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        return self.taps(images, dtype, frozenset(self.channels))

    def taps(self, images: Tensor, dtype: torch.dtype, wanted: frozenset[str]) -> Taps:
        """These taps, and no others; see `outputs`."""
        found = self.load()(images, dtype, wanted)
        return {name: found[name] for name in wanted}

    def load(self) -> Teacher:
        """The network; read from its file at the first call."""
        if self._teacher is None:
            # a network is initialised before its weights are read, which the student's dropout must not notice
            # and it is held to finite outputs in float32, also where the first step of a trial asks for it
            with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
                self._teacher = self._network()
        return self._teacher


class LiveTeacher:
    """A teacher that computes at every iteration the taps that the trial reads, and no others.

    Args:
        teacher: all of it.
        wanted: the taps that the trial reads at an iteration.
    """

    def __init__(self, teacher: LazyTeacher, wanted: Callable[[int], frozenset[str]]) -> None:
        self.channels = teacher.channels
        self.teacher, self._wanted = teacher, wanted

    def wanted(self, iteration: int) -> frozenset[str]:
        """The taps that the trial reads at an iteration, without those that the teacher lacks: readers refuse that."""
        return self._wanted(iteration) & self.channels.keys()

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        wanted = self.wanted(iteration)
        return self.teacher.taps(images, dtype, wanted) if wanted else {}

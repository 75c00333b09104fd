"""Distillation terms: one file per paper, with a `Config` and a `Method`; shared parts here.

A term is unweighted: its weight stands in `Config.weights`, a frozen dataclass with one float field per term, and the
objective multiplies. A term whose weight is 0 is left out: neither computed nor given adapters or memory. Nothing here
knows the task loss; how that is weighted is the business of `trainers.difficulty`.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from trainers.distributed.means import Mean
from trainers.models import Taps
from trainers.plugins.content import written_name


class MethodConfig(Protocol):
    """What every method's Config has besides its own options."""

    @property
    def weights(self) -> Any:
        """One float field per term, at least 0."""
        ...

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the taps that `terms` reads, of student and teacher alike."""
        ...


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


def weighed(config: MethodConfig) -> dict[str, float]:
    """Weights of the terms that are computed: those above 0."""
    return {name: weight for name, weight in dataclasses.asdict(config.weights).items() if weight > 0}


def check_one_grid(student: Tensor, teacher: Tensor) -> None:
    """Raises ValueError unless both maps have one height and width."""
    if student.shape[-2:] != teacher.shape[-2:]:
        raise ValueError(
            f"the maps of student and teacher must have one size, but got {list(student.shape[-2:])} and "
            f"{list(teacher.shape[-2:])}; choose networks with the same output stride"
        )


def check_one_shape(student: Tensor, teacher: Tensor) -> None:
    """Raises ValueError unless both are of one shape."""
    if student.shape != teacher.shape:
        raise ValueError(
            "what is compared of student and teacher must have one shape, but got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}; "
            "choose networks with the same output stride and the same classes"
        )


def unit(vectors: Tensor, dim: int) -> Tensor:
    """`vectors` scaled to length 1 along `dim`. One of zeros stays so and gets no gradient, where dividing by the
    1e-12 of F.normalize would give it one of 1e12."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / length.masked_fill(length < 1e-12, torch.inf)


@dataclass(frozen=True, kw_only=True)
class PretrainingData:
    """The data of a method's pretraining, before a trial's first step: teacher and batches, without the student.

    The result therefore is the same for all trials with this teacher and these batches, and may be cached for them.

    Attributes:
        teacher: gives the frozen teacher's float32 taps, detached, for RGB uint8 images [B, 3, H, W].
        batches: given the number of batches and the batch size B, gives images uint8 [B, 3, H, W] and labels
            int64 [B, H, W], the same at every call.
        identity: plain values that determine teacher and batches: the key of a cache.
        teacher_file: path of the teacher's file; results may be cached in the same folder.
        device: where the teacher's taps are computed.
    """

    teacher: Callable[[Tensor], Taps]
    batches: Callable[[int, int], Iterable[tuple[Tensor, Tensor]]]
    identity: Mapping[str, Any]
    teacher_file: Path
    device: torch.device


class DistillationMethod(nn.Module, ABC, Generic[ConfigT]):
    """Base of every `Method`: a module, so that adapters are trained and memory banks saved.

    What it holds must need no more than the configuration and these arguments to build, on any device.

    Args:
        config: the `Config` of the same file.
        student_channels: channels of each tap of the student, by tap name.
        teacher_channels: the same of the teacher.
        num_classes: classes of the dataset, the ignored label not counted.

    Raises:
        ValueError: a network lacks a tap that the method reads.
    """

    remedies: ClassVar[Mapping[str, str]] = {}
    """What to do about a tap that a network lacks, by the tap's name, where it is not to leave the method out."""

    def __init__(
        self,
        config: ConfigT,
        *,
        student_channels: Mapping[str, int],
        teacher_channels: Mapping[str, int],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.student_channels, self.teacher_channels = student_channels, teacher_channels
        self._check_taps("student", student_channels)
        self._check_taps("teacher", teacher_channels)
        self.build()

    def build(self) -> None:
        """Create the method's submodules and buffers: adapters, memory banks, networks; most methods have none."""

    def _check_taps(self, side: str, channels: Mapping[str, int]) -> None:
        name = written_name(type(self).__module__)
        for tap in self.config.taps:
            if tap not in channels:
                otherwise = self.remedies.get(tap, f"leave {name} out")
                raise ValueError(
                    f"{name} reads the {side}'s {tap!r} tap, but this network has only {sorted(channels)}; "
                    f"give it that head or {otherwise}"
                )

    @classmethod
    def teacher_taps(cls, config: ConfigT, teacher: Collection[str]) -> tuple[str, ...]:  # noqa: ARG003
        """The taps that `terms` reads of a teacher with these: `config.taps`, unless it can do with others too."""
        return config.taps

    @abstractmethod
    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Named, unweighted terms: those in `weighed(config)`.

        Args:
            student: the student's taps, at least those in `config.taps`.
            teacher: the teacher's, at least `teacher_taps`; they get no gradient.
            labels: int64 [B, H, W] at full resolution, IGNORE where unlabelled.
        """

    @property
    def has_to_prepare(self) -> bool:
        """Whether the method is pretrained by `prepare`; most methods are not."""
        return False

    def prepare(self, data: PretrainingData) -> None:
        """Pretrain the method, before the first step of a trial.

        Called if `has_to_prepare`, on rank 0 alone, for a trial without a checkpoint; its state is then broadcast to
        the other ranks.

        Raises:
            ValueError: the pretraining fails, or its cached result does not match.
        """

    @property
    def adversary(self) -> "Adversary | None":
        """The network that is trained against the student; None for most methods."""
        return None


class Adversary(nn.Module, ABC):
    """A network that is trained against the student, in a step of its own after the student's: a discriminator.

    The student's step backpropagates through it without training it: its parameters are frozen (`requires_grad` is
    False), so that DDP and the optimizer of the student ignore them, except during its own step
    (`trainers.distillation.adversaries`).

    Args:
        network: its parameters that require a gradient at construction are those that are trained.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.freeze()

    def freeze(self) -> None:
        """Let no parameter require a gradient."""
        for parameter in self.trainable:
            parameter.requires_grad_(False)

    def unfreeze(self) -> None:
        """Let the trainable parameters require gradients."""
        for parameter in self.trainable:
            parameter.requires_grad_(True)

    @abstractmethod
    def forward(self, student: Taps, teacher: Taps) -> dict[str, Mean]:
        """Terms of the adversary's loss, which is their sum.

        Args:
            student: the student's taps of the same step, detached.
            teacher: the teacher's taps of the same images.
        """

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimizer of the `trainable` parameters."""

    @abstractmethod
    def rate(self, iteration: int, iterations: int) -> float:
        """Learning rate of the 0-based `iteration` of a training of `iterations`."""

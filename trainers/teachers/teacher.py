"""Where teacher outputs come from: a frozen network read from a file that says what it is.

A teacher's file is safetensors with one JSON text in its metadata: the network's configuration, the classes, the
normalisation, the dataset, and what it scored there. So a teacher that does not fit is refused before a trial starts,
and nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from trainers import models
from trainers.config import LATER, ConfigError, StoredPrecision, identity, parse
from trainers.data import SegmentationDataset
from trainers.data.transforms import Normalisation
from trainers.evaluation.evaluation import evaluate
from trainers.models import SegmentationNetwork, Taps
from trainers.models.weights import load_weights, refuse_outputs_not_finite, sample_images
from trainers.registry import OneOf
from trainers.resources.faults import MachineFaultError

PROBE_IMAGES = 8
"""Validation images of the quick evaluation that follows the loading of a teacher."""


@dataclass(frozen=True, kw_only=True)
class TeacherCard:
    """What a teacher's file says of itself.

    Attributes:
        model: configuration of its network.
        class_names: what it predicts, in order; None for each whose name is not known.
        data: the dataset it was trained on, without where that lay; None where that is not known.
        miou_percent: on the whole validation split, after training; None where it was not measured.
        probe_miou_percent: on the first PROBE_IMAGES validation images; None where it was not measured.
        trained_by: content hash of the trial that trained it; None for a network that was converted.
        converted_from: SHA-256 of the published checkpoint; None for a network that a trial trained.
        trial: the identity of that trial, which `trained_by` is the hash of: network, data, schedule, seeds. Empty for
            a network that was converted, and in files that were written before it was kept.
        stored: what the file keeps the weights in.
    """

    model: Annotated[Any, OneOf("trainers.models", "architecture")]
    class_names: tuple[str | None, ...]
    normalisation: Normalisation
    data: Annotated[Any, OneOf("trainers.data", "name")] | None = None
    miou_percent: float | None = None
    probe_miou_percent: float | None = None
    trained_by: str | None = None
    converted_from: str | None = None
    trial: Mapping[str, Any] = field(default_factory=dict, metadata=LATER)
    stored: StoredPrecision = field(default="float32", metadata=LATER)


class TeacherFileError(MachineFaultError):
    """A teacher's file is not there, or not what it should be."""


class Teacher(nn.Module):
    """A frozen network in eval mode."""

    def __init__(self, network: SegmentationNetwork, card: TeacherCard) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.card = card
        self.channels = dict(network.channels)

    def train(self, mode: bool = True) -> "Teacher":
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self, images: Tensor, dtype: torch.dtype = torch.float32, wanted: Collection[str] | None = None
    ) -> Taps:
        """Taps for RGB uint8 images [B, 3, H, W], without a graph: all, or at least those that are wanted."""
        return self.network.taps_of(self.card.normalisation(images, dtype), self.channels if wanted is None else wanted)

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        """All taps at every iteration, as prices of steps count them; see `TeacherOutputs`."""
        return self(images, dtype)  # type: ignore[no-any-return]


def round_weights(network: nn.Module, stored: StoredPrecision) -> None:
    """Give a network's parameters, in place, the values that a file of this precision holds.

    Raises:
        ValueError: one is too large for it.
    """
    for name, parameter in network.named_parameters():
        rounded = parameter.data.to(getattr(torch, stored))
        if not rounded.isfinite().all():
            raise ValueError(
                f"weights must fit {stored}, but {name} reaches {parameter.abs().max().item():g}; "
                "store the teacher in float32"
            )
        parameter.data.copy_(rounded)


def save(network: nn.Module, card: TeacherCard, path: Path) -> None:
    """Write a teacher's file, renamed into place; of a network whose weights are rounded to what the card stores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writing = path.with_suffix(".writing")
    kept = getattr(torch, card.stored)
    parameters = dict(network.named_parameters())
    weights = {
        name: (tensor.to(kept) if name in parameters else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    # not by save_file, whose files none but their owner may read
    writing.write_bytes(serialized(weights, metadata={"kdstudy_teacher": json.dumps(identity(card))}))
    writing.replace(path)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> TeacherCard:
    """What a teacher's file says of itself.

    Raises:
        ValueError: where there is no such file, or it is no teacher's.
    """
    remedy = "write one with `kdstudy teacher CONFIG`"
    if not path.is_file():
        raise TeacherFileError(f"a teacher must be a teacher's file, but there is no {path}; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("kdstudy_teacher")
    except SafetensorError as error:
        raise TeacherFileError(f"{path} must be a readable teacher's file, but is corrupt: {error}; {remedy}") from None
    if text is None:
        raise TeacherFileError(f"{path} must say what network it holds, but has no teacher's card; {remedy}")
    try:
        return parse(TeacherCard, json.loads(text))
    except (ConfigError, json.JSONDecodeError) as error:
        raise TeacherFileError(f"the card of {path} must be readable, but: {error}; {remedy}") from None


def load(path: Path, *, class_names: tuple[str | None, ...], expected_sha256: str | None = None) -> Teacher:
    """Read a teacher for a dataset with these classes.

    Raises:
        ValueError: where the file is corrupt, not the expected one, of other classes, or where its weights or its
            outputs on a batch are not finite.
    """
    card = fitting_card(path, class_names=class_names, expected_sha256=expected_sha256)
    network = models.build(card.model, num_classes=len(card.class_names), initial_weights=False)
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    load_weights(network, weights, source=str(path))
    refuse_outputs_not_finite(network, card.normalisation(sample_images()), source=str(path))
    return Teacher(network, card)


def fitting_card(path: Path, *, class_names: tuple[str | None, ...], expected_sha256: str | None = None) -> TeacherCard:
    """What a teacher's file says of itself, if it is one for a dataset with these classes.

    Raises:
        ValueError: as `load`.
    """
    card = read_card(path)
    if len(card.class_names) != len(class_names):
        raise TeacherFileError(
            f"teacher and dataset must have the same classes, but {path} was trained for "
            f"{len(card.class_names)} and the dataset has {len(class_names)}; train a teacher on this dataset"
        )
    if expected_sha256 and (found := sha256(path)) != expected_sha256:
        raise TeacherFileError(
            f"{path} must be the teacher of this trial (sha256 {expected_sha256[:12]}), but is {found[:12]}; "
            "put the original file back or start a new study"
        )
    return card


def channels(card: TeacherCard) -> dict[str, int]:
    """Channels of every tap of the teacher that a card describes, without its weights."""
    with torch.device("meta"):
        network = models.build(card.model, num_classes=len(card.class_names), initial_weights=False)
        return Teacher(network, card).channels


def probe(teacher: Teacher, data: SegmentationDataset) -> str | None:
    """A quick evaluation on the first validation images: None if it fits, else what does not."""
    names = [name for name in teacher.card.class_names if name is not None]
    if names and names != list(data.class_names):
        return (
            f"the teacher's classes are named {', '.join(names)}, the dataset's "
            f"{', '.join(data.class_names)}: the same number, perhaps in another order"
        )
    if teacher.card.probe_miou_percent is None:
        return None
    found = evaluate(
        teacher.network,
        data,
        normalisation=teacher.card.normalisation,
        device=torch.device("cpu"),
        images=PROBE_IMAGES,
    ).miou_percent
    if found < teacher.card.probe_miou_percent - 2:
        return (
            f"the teacher scores {found:.1f} mIoU on the first {PROBE_IMAGES} validation images here, but scored "
            f"{teacher.card.probe_miou_percent:.1f} when it was trained: another resolution or dataset?"
        )
    return None

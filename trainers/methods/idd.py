"""IDD, inter-class distance distillation (Zhang 2022, IJCAI): how far classes lie apart, and where things are.

No code was published; the paper's equations are the source. Its loss is L_skd + lambda_1 L_cw + lambda_2 L_id +
lambda_3 L_pi. The first two are the methods skd and cwd, which a trial may have beside this one; here are L_id
("distance") and L_pi ("position"). The position network of L_pi is learned from the frozen teacher before a trial's
first step, by `trainers.methods.position_training`, or ahead of time by `kdstudy position`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor, nn

from trainers.distributed.means import Mean, in_full_precision
from trainers.methods import DistillationMethod, PretrainingData, check_one_grid, position_training, unit
from trainers.methods.class_regions import class_sums, resized_labels
from trainers.methods.position_network import PositionNetwork, Pretraining
from trainers.models import Taps

Axis = Literal["text", "formula"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term: lambda_2 and lambda_3 of the paper, which searches them and gives no values.

    The defaults bring both near a task loss of 1 at a student's start. On 8 x 12 features of street scenes, a trained
    DeepLabV3-R18 of half width as teacher and one of a quarter width as student, `distance` was 10 and `position` 6.
    Between initialised networks `distance` was 0.2 to 0.5 for MobileNetV2s with 64 channels and 10 to 58 for R101 and
    R18, for it grows with the channels; `position` grows with height plus width.
    """

    distance: Annotated[float, Ge(0)] = 0.1
    position: Annotated[float, Ge(0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of IDD.

    Attributes:
        axis: see `position_information`.
        pretraining: the position network and how it learns from the teacher.
        weights: weight of each term.
    """

    axis: Axis = "text"
    pretraining: Pretraining = field(default_factory=Pretraining)
    weights: Weights = field(default_factory=Weights)

    @property
    def taps(self) -> tuple[str, ...]:
        return ("features",)


class ClassCentres(NamedTuple):
    """Of every image and class."""

    centres: Tensor
    """[B, C, D], the mean of the features of the class's pixels; 0 where there are none."""
    present: Tensor
    """bool [B, C], whether there are any."""


@in_full_precision
def class_centres(features: Tensor, labels: Tensor, *, num_classes: int) -> ClassCentres:
    """Mean feature vector of every class in every image.

    Args:
        features: [B, D, h, w].
        labels: int64 [B, H, W], resized to h x w by nearest; pixels of no class, such as 255, are left out.
        num_classes: C.
    """
    height, width = features.shape[-2:]
    sums, counts, _ = class_sums(features, resized_labels(labels, (height, width)), num_classes=num_classes)
    return ClassCentres(sums / counts.clamp(min=1)[..., None], counts > 0)


@in_full_precision
def inter_class_distance(student: Tensor, teacher: Tensor, labels: Tensor, *, num_classes: int) -> Mean:
    """Count: images with at least two classes. Squared difference of the centres' distances, a mean over class pairs.

    Only classes that are present make pairs. Distances are Euclidean; where two centres coincide, the gradient of
    theirs is 0.

    Args:
        student: features [B, C_s, h, w].
        teacher: features [B, C_t, h, w]; they get no gradient.
        labels: int64 [B, H, W], as of `class_centres`.
        num_classes: classes of the dataset.

    Raises:
        ValueError: maps of different sizes.
    """
    check_one_grid(student, teacher)
    ours, present = class_centres(student, labels, num_classes=num_classes)
    theirs, _ = class_centres(teacher.detach(), labels, num_classes=num_classes)
    # the diagonal is 0 in both
    squares = (_distances(ours) - _distances(theirs)).square() * (present[:, :, None] & present[:, None])
    classes = present.sum(1)
    pairs = classes * (classes - 1)
    per_image = squares.sum((1, 2)) / pairs.clamp(min=1)
    return Mean(per_image.sum(), (pairs > 0).sum())


def _distances(centres: Tensor) -> Tensor:
    """[B, C, C] of [B, C, D]; by differences, as squares and products would cancel where centres are close."""
    return torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")


@in_full_precision
def position_information(student_maps: Tensor, teacher_maps: Tensor, *, axis: Axis = "text") -> Mean:
    """Count B: distances of the unit vectors along each row of HOR and each column of VER, summed; half of both.

    Args:
        student_maps: [B, 2, H, W], what the position network reads from the student: across (HOR) and down (VER).
        teacher_maps: the same of the teacher; no gradient.
        axis: "text" takes rows of HOR and columns of VER as vectors, along which the position changes, as the paper
            says; "formula" takes columns of HOR and rows of VER, as the indices of its formula read, and along them a
            perfect map is constant.

    Raises:
        ValueError: maps of different sizes.
    """
    check_one_grid(student_maps, teacher_maps)
    across, down = (-1, -2) if axis == "text" else (-2, -1)
    total = student_maps.new_zeros(())
    for direction, along in enumerate((across, down)):
        ours, theirs = (unit(maps[:, direction], along) for maps in (student_maps, teacher_maps.detach()))
        total = total + torch.linalg.vector_norm(ours - theirs, dim=along).sum() / 2
    return Mean(total, total.new_full((), len(student_maps)))


class Method(DistillationMethod[Config]):
    """L_id between the features, and L_pi between what the teacher's position network reads from them."""

    def build(self) -> None:
        ours, theirs = self.student_channels["features"], self.teacher_channels["features"]
        self.network: PositionNetwork | None = None
        if self.config.weights.position:
            self.network = PositionNetwork(theirs, self.config.pretraining).freeze()
            self.adapter = nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)

    @property
    def has_to_prepare(self) -> bool:
        """Where the position term has weight."""
        return self.network is not None

    def prepare(self, data: PretrainingData) -> None:
        """Read or train the position network of the teacher."""
        if self.network is not None:
            found = position_training.learned(self.config.pretraining, self.teacher_channels["features"], data)
            self.network.load_state_dict(found.state_dict())

    def terms(self, student: Taps, teacher: Taps, labels: Tensor) -> dict[str, Mean]:
        """Terms "distance" and "position"."""
        terms, ours, theirs = {}, student["features"], teacher["features"]
        if self.config.weights.distance:
            terms["distance"] = inter_class_distance(ours, theirs, labels, num_classes=self.num_classes)
        if self.network is not None:
            with torch.no_grad():
                target = self.network(theirs)
            read = self.network(self.adapter(ours))
            terms["position"] = position_information(read, target, axis=self.config.axis)
        return terms

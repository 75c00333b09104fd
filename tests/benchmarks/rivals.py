"""What the fast terms are measured against: the same losses written as the published code is structured.

Loops over classes, pairs of classes and pairs of images; full-size masks; whole similarity maps kept for the backward
pass. All return the loss, a 0-dim tensor; arguments are those of the functions of `trainers` that they stand beside.
"""

from itertools import combinations, product

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.data import IGNORE
from trainers.models import Taps

HEADS = {"logits": 1.0, "aux": 0.4}


def intra_class_variation(student: Tensor, teacher: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """IFVD: every class in turn writes its centre into a map of the features' size."""
    small = _nearest(labels, student)

    def cosines(features: Tensor) -> Tensor:
        centres = features
        for label in range(num_classes):
            mask = (small == label).unsqueeze(1).to(features.dtype).expand_as(features)
            centre = (features * mask).sum((2, 3), keepdim=True) / (mask.sum((2, 3), keepdim=True) + 1e-6)
            centres = (1 - mask) * centres + mask * centre
        return F.cosine_similarity(features, centres, dim=1, eps=1e-8)

    return F.mse_loss(cosines(student), cosines(teacher))


def inter_class_distance(student: Tensor, teacher: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """IDD: every pair of classes computes both its centres anew."""
    small = _nearest(labels, student)

    def centre(features: Tensor, label: int) -> Tensor:
        mask = (small == label).unsqueeze(1)
        return (features * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)

    def distance(features: Tensor, first: int, second: int) -> Tensor:
        return torch.linalg.vector_norm(centre(features, first) - centre(features, second), dim=1)

    total, pairs = student.new_zeros(len(student)), student.new_zeros(len(student))
    for pair in combinations(range(num_classes), 2):
        present = torch.stack([(small == label).flatten(1).any(1) for label in pair]).all(0)
        total = total + present * (distance(teacher, *pair) - distance(student, *pair)) ** 2
        pairs = pairs + present
    return (total / pairs)[pairs > 0].mean()


def tse(student: Taps, teacher: Taps, labels: Tensor, *, threshold: float = 0.7) -> Tensor:
    """RDD's TSE stage as published: both networks upsampled, two full softmaxes, the labels' probabilities, a mask."""

    def hard(logits: Tensor) -> Tensor:
        probabilities = F.softmax(logits.detach(), dim=1).transpose(0, 1).reshape(logits.shape[1], -1)
        flat = labels.flatten()
        target = probabilities[flat.masked_fill(flat == IGNORE, 0), torch.arange(len(flat), device=flat.device)]
        return target.reshape(labels.shape) <= threshold

    loss = labels.new_zeros((), dtype=student["logits"].dtype)
    for tap, weight in HEADS.items():
        ours, theirs = _upsampled(student[tap], labels), _upsampled(teacher[tap], labels)
        kept = labels.masked_fill(~(hard(ours) ^ hard(theirs)), IGNORE)
        loss = loss + weight * F.cross_entropy(ours, kept, ignore_index=IGNORE)
    return loss


def cross_entropy(student: Taps, teacher: Taps, labels: Tensor) -> Tensor:
    """Plain cross entropy of both heads."""
    losses = [
        weight * F.cross_entropy(_upsampled(student[tap], labels), labels, ignore_index=IGNORE)
        for tap, weight in HEADS.items()
    ]
    return torch.stack(losses).sum()


def minibatch_contrast(student: Tensor, teacher: Tensor, *, temperature: float = 0.1) -> Tensor:
    """CIRKD within a batch: for every ordered pair of images, the map of all their pixels' similarities."""
    ours, theirs = (F.normalize(features, dim=1).flatten(2).mT for features in (student, teacher))
    divergences = [
        _divergence(ours[i] @ ours[j].mT / temperature, theirs[i] @ theirs[j].mT / temperature)
        for i, j in product(range(len(ours)), repeat=2)
    ]
    return torch.stack(divergences).mean()


def memory_contrast(student: Tensor, teacher: Tensor, bank_rows: Tensor, *, temperature: float = 0.1) -> Tensor:
    """CIRKD against a memory: the similarities of all pixels with all of the memory's rows."""
    return _divergence(student @ bank_rows.mT / temperature, teacher @ bank_rows.mT / temperature)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")


def _nearest(labels: Tensor, features: Tensor) -> Tensor:
    (height, width), (full_height, full_width) = features.shape[-2:], labels.shape[-2:]
    rows = torch.arange(height, device=labels.device) * full_height // height
    columns = torch.arange(width, device=labels.device) * full_width // width
    return labels[:, rows][:, :, columns]


def _upsampled(logits: Tensor, labels: Tensor) -> Tensor:
    return F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True)

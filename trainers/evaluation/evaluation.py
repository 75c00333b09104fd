"""Evaluation on whole images: one confusion matrix of the dataset, images sharded over ranks.

Every image is counted once whatever the number of ranks, and its own counts are kept, because statistics over images
need them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from trainers.data import SegmentationDataset
from trainers.data.export import Export
from trainers.data.transforms import Normalisation, WholeImages
from trainers.distributed.ranks import world_size
from trainers.evaluation import metrics
from trainers.evaluation.prediction import Views, predict
from trainers.resources.gpu import kernels

BATCH = 8
"""Images of one size in a forward pass, where their logits at the images' size are at most MAX_LOGITS elements."""

MAX_LOGITS = 2**26
"""Elements, 256 MiB in float32: one image of Cityscapes, eight of CamVid."""

ONCE = Views()
"""The default of an evaluation: single scale, whole image."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Counts of one evaluation.

    Attributes:
        confusion: int64 [C, C], rows are labels, columns predictions.
        images: int64 [images, C, 3]: true positives, false positives, false negatives per image and class.
    """

    confusion: Tensor
    images: Tensor

    @property
    def miou_percent(self) -> float:
        return float(metrics.mean_iou(self.confusion)) * 100

    @property
    def pixel_accuracy_percent(self) -> float:
        return float(metrics.pixel_accuracy(self.confusion)) * 100

    def iou_percent(self, class_names: tuple[str, ...]) -> dict[str, float]:
        """IoU of each class that occurs in labels or predictions."""
        ious = metrics.iou_per_class(self.confusion)
        return {name: float(iou) * 100 for name, iou in zip(class_names, ious, strict=True) if not torch.isnan(iou)}


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: SegmentationDataset,
    *,
    normalisation: Normalisation,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    images: int | None = None,
    rank: int = 0,
    loader_workers: int = 0,
    views: Views = ONCE,
    export: Export | None = None,
) -> Evaluation:
    """Predict a split and count true and false predictions. All ranks call it, and all get the sums over all ranks.

    Args:
        network: returns the tap "logits"; in eval mode during the call, then in its previous mode.
        data: the split.
        normalisation: of the images, as the network was trained with.
        device: of the network.
        dtype: of the normalised images.
        images: number of images, the first ones of the split; None for all.
        rank: of this process, among those that share the images.
        loader_workers: processes that read images; 0 reads them in this one.
        views: inference options: scales, mirroring, sliding window.
        export: writes the predictions to files, each on the rank that computed it; None for no files.
    """
    classes = len(data.class_names)
    total = len(data) if images is None else min(images, len(data))
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    counts = torch.zeros(total, classes, 3, dtype=torch.int64, device=device)
    mine = range(rank, total, world_size())
    was_training = network.training
    network.eval()
    with kernels(device, search=False):  # images may be of many sizes
        for indices, batch, labels in _batches(data, mine, loader_workers):
            labels = labels.to(device)
            predictions = predict(network, normalisation(batch.to(device), dtype), views)
            matrices = metrics.confusion_matrices(predictions, labels, num_classes=classes)
            confusion += matrices.sum(0)
            counts[indices] = metrics.image_counts(matrices)
            if export is not None:
                for index, prediction in zip(indices, predictions, strict=True):
                    export.write(index, prediction.to(torch.uint8).cpu().numpy())
    network.train(was_training)
    if world_size() > 1:
        dist.all_reduce(confusion)
        dist.all_reduce(counts)
    return Evaluation(confusion=confusion.cpu(), images=counts.cpu())


def _batches(data: SegmentationDataset, indices: range, workers: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Consecutive images of one size, as many as BATCH and MAX_LOGITS allow."""
    classes = len(data.class_names)
    loader = DataLoader(Subset(WholeImages(data), list(indices)), batch_size=None, num_workers=workers)
    waiting: list[tuple[int, Tensor, Tensor]] = []
    for index, (image, label) in zip(indices, loader, strict=True):
        size = min(BATCH, max(1, MAX_LOGITS // (classes * label.numel())))
        if waiting and (len(waiting) >= size or waiting[0][1].shape != image.shape):
            yield _stacked(waiting)
            waiting = []
        waiting.append((index, image, label))
    if waiting:
        yield _stacked(waiting)


def _stacked(items: list[tuple[int, Tensor, Tensor]]) -> tuple[list[int], Tensor, Tensor]:
    indices, images, labels = zip(*items, strict=True)
    return list(indices), torch.stack(images), torch.stack(labels)

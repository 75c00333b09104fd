"""Pretraining of methods that need it before a trial's first step, with the trial's teacher and batches.

The teacher is read again, when a method calls it, and in float32 whatever the precision of the trial, so that the
result does not depend on that.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from trainers.config import TrialConfig, identity
from trainers.context import TrialContext
from trainers.data import SegmentationDataset
from trainers.data.transforms import training_batches
from trainers.distillation.distiller import Distiller
from trainers.methods import DistillationMethod, PretrainingData
from trainers.models import Taps
from trainers.teachers import teacher as teachers
from trainers.teachers.teacher import Teacher


def prepare_methods(
    distiller: Distiller,
    config: TrialConfig,
    data: SegmentationDataset,
    context: TrialContext,
    *,
    loader_workers: int = 0,
) -> None:
    """Pretrain the methods that need it; called on all ranks before a trial's first step.

    Rank 0 computes, and broadcasts the result; the others wait up to the process group's timeout.

    Raises:
        ValueError: on rank 0, if the pretraining of a method fails.
    """
    methods = [method for method in distiller.methods.values() if isinstance(method, DistillationMethod)]
    pretrained = [method for method in methods if method.has_to_prepare]
    if not pretrained:
        return
    if context.rank == 0:
        pretraining = pretraining_data(config, data, context.device, loader_workers=loader_workers)
        for method in pretrained:
            method.prepare(pretraining)
    if context.world_size > 1:
        for method in pretrained:
            for tensor in method.state_dict().values():
                dist.broadcast(tensor, 0)


def pretraining_data(
    config: TrialConfig, data: SegmentationDataset, device: torch.device, *, loader_workers: int = 0
) -> PretrainingData:
    """The teacher of a trial, and samples of `data` as the trial augments them.

    Args:
        config: a trial with a teacher; of its training, only `augment` and `data_seed` are read.
        data: the training split, or another one to evaluate the pretrained network on.
        device: of the teacher.
        loader_workers: processes that read and augment images; does not change the numbers.
    """
    assert config.teacher is not None
    path, expected = Path(config.teacher.path), config.teacher.sha256

    @cache
    def network() -> Teacher:
        return teachers.load(path, class_names=data.class_names, expected_sha256=expected).to(device)

    def teacher(images: Tensor) -> Taps:
        return network()(images.to(device))  # type: ignore[no-any-return]

    def batches(iterations: int, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
        seed = config.data_seed
        made = training_batches(data, config.augment, batch=batch, seed=seed, stop=iterations, workers=loader_workers)
        return ((images, labels.long()) for images, labels in made)

    key = {
        "teacher": expected or teachers.sha256(path),
        "data": identity(config.data),
        "augment": identity(config.augment),
        # the code of a dataset or a teacher of the user's own
        **({"plugins": identity(config.plugins)} if config.plugins else {}),
        "data_seed": config.data_seed,
        **({"holdout": config.holdout} if config.holdout else {}),
    }
    return PretrainingData(teacher=teacher, batches=batches, identity=key, teacher_file=path, device=device)

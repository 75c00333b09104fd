"""PretrainingData: the teacher and the batches of a trial, for methods that learn something before its first step.

The teacher is read anew, in float32 whatever the trial computes in, so that what is learned does not depend on that;
and only when a method asks for it.
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
    """Let the methods learn what they need to know before a trial's first step; all ranks call it.

    Rank 0 learns, and the others wait for it as long as the process group's timeout allows.

    Raises:
        ValueError: on rank 0, where a method cannot learn.
    """
    methods = [method for method in distiller.methods.values() if isinstance(method, DistillationMethod)]
    pretrained = [method for method in methods if method.has_to_prepare]
    if not pretrained:
        return
    if context.rank == 0:
        known = pretraining_data(config, data, context.device, loader_workers=loader_workers)
        for method in pretrained:
            method.prepare(known)
    if context.world_size > 1:
        for method in pretrained:
            for tensor in method.state_dict().values():
                dist.broadcast(tensor, 0)


def pretraining_data(
    config: TrialConfig, data: SegmentationDataset, device: torch.device, *, loader_workers: int = 0
) -> PretrainingData:
    """The teacher of a trial that has one, on samples of `data` as the trial cuts them.

    Args:
        config: the trial; of its training, nothing but `augment` and `data_seed` is looked at.
        data: the training split, or another to test on what was learned.
        device: where the teacher computes.
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
        return training_batches(data, config.augment, batch=batch, seed=seed, stop=iterations, workers=loader_workers)

    decisive = {
        "teacher": expected or teachers.sha256(path),
        "data": identity(config.data),
        "augment": identity(config.augment),
        "data_seed": config.data_seed,
        **({"holdout": config.holdout} if config.holdout else {}),
    }
    return PretrainingData(teacher=teacher, batches=batches, identity=decisive, teacher_file=path, device=device)

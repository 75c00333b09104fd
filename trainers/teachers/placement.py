"""A teacher as trials run it: on their device, in their types, with what makes it faster."""

from typing import Any

import torch
from torch import nn

from trainers.config import TeacherFile
from trainers.teachers.folding import fold_batch_norms
from trainers.teachers.teacher import Teacher

HELD = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
"""Layers whose weights autocast casts; exactly these, because a subclass may do more with its weights."""
HELD_ON_CUDA = (*HELD, nn.PReLU)


def placed(teacher: Teacher, options: TeacherFile, *, autocast: torch.dtype | None, **place: Any) -> Teacher:
    """A teacher ready to be asked.

    Args:
        teacher: as it was read, on the CPU in float32.
        options: of how it is run.
        autocast: the type of the autocast that it will be run under; None for none.
        place: of `nn.Module.to`: its device, type and memory format.

    Raises:
        ValueError: its batch normalisations cannot be folded.
    """
    if options.fold_batch_norm:
        fold_batch_norms(teacher.network)
    teacher.to(**place)
    if autocast is not None:
        hold(teacher, autocast)
    if options.compile:
        teacher.compile(dynamic=False)
    return teacher


def hold(teacher: Teacher, dtype: torch.dtype) -> None:
    """Cast once what autocast to this type would cast at every step, because it keeps no copies of frozen weights.

    The outputs keep their bits: normalisations, which autocast leaves alone, stay as they are.
    """
    on_cuda = any(parameter.is_cuda for parameter in teacher.parameters())
    for module in teacher.modules():
        if type(module) in (HELD_ON_CUDA if on_cuda else HELD):
            module.to(dtype)

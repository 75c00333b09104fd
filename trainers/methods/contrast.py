"""KL divergence of teacher and student similarities, a few rows at a time: no map of rows x keys is ever kept.

The gradient of KL(p_t || p_s) by the student's logits is p_s - p_t, so the forward pass has it for each chunk of rows
as soon as it has the divergence. It is multiplied out to the gradients of rows and keys at once, and the chunk is
dropped; the backward pass only scales. Nothing is computed twice, and what is kept has the size of the features.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**22
"""Similarities computed at a time on a CPU, 16 MiB in float32; about three times that is alive."""
CUDA_CHUNK = 2**26
"""The most on a GPU, where each chunk costs twenty kernel launches."""
SHARE = 20
"""What is alive of a chunk is at most this part of a GPU's memory, 1/SHARE."""
ALIVE = 16
"""Bytes that are alive for each similarity: four values in float32."""


def similarity_kl(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    *,
    temperature: float,
    groups: int = 1,
    counted: Tensor | None = None,
    usable: Tensor | None = None,
) -> Tensor:
    """KL(teacher || student) of softmax(rows . keys / temperature) over each group of keys, added up.

    It cannot be derived twice.

    Args:
        student: rows [M, D_s] and keys [groups * K, D_s]; both may require a gradient.
        teacher: rows [M, D_t] and keys [groups * K, D_t]; they get none.
        temperature: divides the products of both.
        groups: distributions per row, over K consecutive keys each.
        counted: bool [M], rows that are added up; None for all.
        usable: bool [groups * K], keys that take part; None for all. A group without any adds 0.

    Returns:
        0-dim sum over rows and groups.
    """
    rows, keys = student
    masks = (counted, usable)
    total: Tensor = _SimilarityKL.apply(
        rows,
        keys.view_as(keys),  # torch.compile takes no tensor twice, and rows may be their own keys
        *(t.detach() for t in teacher),
        1 / temperature,
        groups,
        masks,
    )
    return total


def chunk_size(device: torch.device) -> int:
    """Similarities to compute at a time: few, for the memory, on a CPU; as many as its memory suggests on a GPU.

    A power of two between CHUNK and CUDA_CHUNK, which GPUs of 20 GiB and more take.
    """
    if device.type != "cuda":
        return CHUNK
    fitting: int = torch.cuda.get_device_properties(device).total_memory // (SHARE * ALIVE)
    return min(max(CHUNK, 1 << (fitting.bit_length() - 1)), CUDA_CHUNK)


class _SimilarityKL(torch.autograd.Function):
    """See `similarity_kl`."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        student_keys: Tensor,
        teacher: Tensor,
        teacher_keys: Tensor,
        scale: float,
        groups: int,
        masks: tuple[Tensor | None, Tensor | None],
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=student.device)
        of_rows, of_keys = (
            torch.zeros_like(tensor) if needed else None
            for tensor, needed in zip((student, student_keys), ctx.needs_input_grad, strict=False)
        )
        counted, usable = masks
        step = max(1, chunk_size(student.device) // max(1, len(student_keys)))
        for first in range(0, len(student), step):
            part = slice(first, first + step)
            ours, theirs = student[part] * scale, teacher[part] * scale
            divergence, slope = _divergence(
                _log_probabilities(ours, student_keys, groups, usable),
                _log_probabilities(theirs, teacher_keys, groups, usable),
                counted if counted is None else counted[part],
            )
            total += divergence.sum(dtype=torch.float64)
            if of_rows is not None:
                torch.mm(slope, student_keys, out=of_rows[part]).mul_(scale)
            if of_keys is not None:
                of_keys.addmm_(slope.T, ours)
        ctx.save_for_backward(of_rows, of_keys)
        return total.to(student.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [saved if saved is None else gradient * saved for saved in ctx.saved_tensors]
        return (*scaled, None, None, None, None, None)


def _log_probabilities(rows: Tensor, keys: Tensor, groups: int, usable: Tensor | None) -> Tensor:
    """[rows, groups, keys per group]; keys that are not usable have probability 0."""
    logits = rows @ keys.T
    if usable is not None:
        # finite, so that a difference of two such logits is 0 and not NaN
        logits.masked_fill_(~usable, torch.finfo(logits.dtype).min / 2)
    return torch.log_softmax(logits.view(len(rows), groups, len(keys) // groups), dim=-1)


def _divergence(student: Tensor, teacher: Tensor, counted: Tensor | None) -> tuple[Tensor, Tensor]:
    """KL of every row and group, and its slope by the student's logits [rows, keys]; overwrites both arguments."""
    expected = teacher.exp()
    divergence = teacher.sub_(student).mul_(expected).sum(-1)
    slope = student.exp_().sub_(expected).flatten(1)
    if counted is not None:
        divergence.masked_fill_(~counted[:, None], 0)
        slope.masked_fill_(~counted[:, None], 0)
    return divergence, slope

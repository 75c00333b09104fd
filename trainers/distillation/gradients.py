"""GradientProbe: do the distillation terms of a loss and its task term move the student's last stage the same way?

At every so many steps it takes the gradient of the weighted task loss, and of each weighted distillation term, with
respect to the student's last feature map, the tap "features", and keeps their norms and the cosine between them. Yu
2020 (PCGrad, arXiv:2001.06782) call tasks whose gradients have a negative cosine conflicting; Chen 2018 (GradNorm,
arXiv:1711.02257) compare norms at the last layer that tasks share, where they cost little. Here the map stands for that
layer, as the shared representation does in Sener 2018 (MGDA-UB, arXiv:1810.04650): every parameter before it gets J^T g
of a gradient g by the map, with one J for all terms. So equal and opposite directions are equal and opposite for these
parameters too; a cosine between has not the same value there. By the map a gradient needs the backward pass of the
heads alone, and it is additive over images: the products of ranks add up, where gradients by parameters would have to
be reduced whole, once for each term. Heads and adapters behind the map are not in it.

Nothing is changed by it: the backward pass of the step comes after it and is the same, no random number is drawn, no
module runs twice. The host does not wait for the device before a report, or a checkpoint between two of them.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainers.distributed.means import at_least_float32
from trainers.distributed.ranks import world_size
from trainers.models import Taps

TAP = "features"
"""The student's last feature map."""
TASK = "task/"
"""What the names of the task loss's terms begin with."""
PROBES = "gradients/probes"
"""The metric of a report that holds its probes, as JSON."""


@dataclass(frozen=True)
class _Probe:
    """One step's gradients on this rank.

    Attributes:
        iteration: number of steps done with this one.
        stage: of the weighting.
        terms: names of the distillation terms.
        sums: float64 [1 + terms, 3], the task first: squared norm, product with the task's gradient, and 1 where the
            term reaches the map.
    """

    iteration: int
    stage: str | None
    terms: tuple[str, ...]
    sums: Tensor


class GradientProbe:
    """Gradients by the student's last feature map since the last `drain`, at every `every`-th step.

    Args:
        every: steps from one probe to the next; 0 for none.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._map: Tensor | None = None
        self._probes: list[_Probe] = []

    @contextmanager
    def watching(self, student: nn.Module, iteration: int) -> Iterator[None]:
        """Remember the map that `student` returns inside, where this 0-based iteration is probed."""
        if not self._every or (iteration + 1) % self._every:
            yield
            return
        handle = student.register_forward_hook(self._remember)
        try:
            yield
        finally:
            handle.remove()

    def _remember(self, _: nn.Module, images: Any, taps: Taps) -> None:
        self._map = last_map(taps)

    def measure(
        self, terms: Mapping[str, Tensor], scaler: torch.amp.GradScaler, iteration: int, stage: str | None
    ) -> None:
        """Add the gradients of a step that was watched; before its backward pass, whose graph stays.

        Args:
            terms: weighted, 0-dim, whose sum is the loss; those of the task begin with TASK.
            scaler: of the loss. In float16 gradients are taken as in training, of the scaled terms, lest they vanish,
                and their sums are scaled back.
            iteration: 0-based step of the trial.
            stage: that the weighting is in.
        """
        tap, self._map = self._map, None
        others = {name: value for name, value in terms.items() if not name.startswith(TASK)}
        if tap is None or not others:
            return
        task = torch.stack([value for name, value in terms.items() if name not in others]).sum()
        scale: Tensor = scaler.scale(torch.ones((), dtype=torch.float64, device=tap.device))
        ours = _gradient(scaler.scale(task), tap)
        rows = [_sums(ours, ours, tap)]
        rows += [_sums(_gradient(scaler.scale(value), tap), ours, tap) for value in others.values()]
        sums = torch.stack(rows)
        sums[:, :2] /= scale**2
        self._probes.append(_Probe(iteration + 1, stage, tuple(others), sums))

    def state_dict(self) -> dict[str, Any]:
        """This rank's probes since the last `drain`."""
        return {"probes": [{**vars(probe), "sums": probe.sums.cpu()} for probe in self._probes]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such probes."""
        self._probes = [_Probe(**{**probe, "sums": probe["sums"].to(device)}) for probe in state["probes"]]

    def drain(self) -> dict[str, str]:
        """The probes of all ranks since the last call, as a metric; none where no step was probed.

        Returns:
            {PROBES: a JSON list with an object for each probe: `iteration`, `stage`, `task_norm`, and `terms`, for each
            its norm and its cosine with the task}. The norms are those of gradients of the global batch. They are null
            of what does not reach the map; a cosine is null where either gradient is 0. Probes with a gradient that is
            not finite, whose steps float16's loss scale skips, are left out.
        """
        if not self._probes:
            return {}
        sums = torch.cat([probe.sums for probe in self._probes])
        if world_size() > 1:
            dist.all_reduce(sums)
        # the loss of a rank is world_size times its part of the global mean, as DDP needs it
        sums[:, :2] /= world_size() ** 2
        probes, self._probes = self._probes, []
        parts = torch.split(sums.cpu(), [len(probe.sums) for probe in probes])
        found = [_row(probe, part.tolist()) for probe, part in zip(probes, parts, strict=True) if part.isfinite().all()]
        return {PROBES: json.dumps(found)} if found else {}


def last_map(taps: Taps) -> Tensor:
    """The map of a student's TAP from which its logits come; where the tap is cut out of that, the whole."""
    tap = taps[TAP]
    return tap if tap._base is None else tap._base


def _gradient(term: Tensor, tap: Tensor) -> Tensor | None:
    """Of a term by the map; None where it does not reach it."""
    if not term.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(term, tap, retain_graph=True, allow_unused=True)
    return None if gradient is None else at_least_float32(gradient).reshape(-1)


def _sums(gradient: Tensor | None, task: Tensor | None, tap: Tensor) -> Tensor:
    """float64 [3]: squared norm, product with the task's gradient, and 1; three times 0 where there is no gradient."""
    if gradient is None:
        return torch.zeros(3, dtype=torch.float64, device=tap.device)
    squared = gradient.dot(gradient).double()
    product = torch.zeros_like(squared) if task is None else gradient.dot(task).double()
    return torch.stack([squared, product, torch.ones_like(squared)])


def _row(probe: _Probe, sums: Sequence[Sequence[float]]) -> dict[str, Any]:
    (squared, _, reaches), *others = sums
    task = math.sqrt(squared) if reaches else None
    terms = {name: _norm_and_cosine(task, *found) for name, found in zip(probe.terms, others, strict=True)}
    return {"iteration": probe.iteration, "stage": probe.stage, "task_norm": task, "terms": terms}


def _norm_and_cosine(
    task: float | None, squared: float, product: float, reaches: float
) -> tuple[float | None, float | None]:
    if not reaches:
        return None, None
    norm = math.sqrt(squared)
    scale = norm * (task or 0.0)
    return norm, max(-1.0, min(1.0, product / scale)) if scale else None

"""The loss scale of float16 training: how many steps it skipped, and when it cannot be saved any more.

PyTorch's scaler skips a step whose gradients are not finite and halves the scale. That is normal while it looks for the
scale; where gradients are never finite, nothing is trained, and only the scale tells.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainers.distillation.objective import DivergedError

LEAST_SCALE = 1e-2
"""A network whose gradients overflow at this scale of the loss overflows without any."""


class LossScale:
    """Counts the steps that a scaler skipped since the last report.

    Nothing waits for the device before `check`, `drain`, or the state of a checkpoint is asked for.

    Args:
        device: of the loss.
    """

    def __init__(self, device: torch.device) -> None:
        self._one = torch.ones((), device=device)
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._too_low = torch.zeros(2, device=device)
        """The first scale below LEAST_SCALE, and 1 more than the iteration after which it was; 0 as long as none is."""

    def update(self, scaler: torch.amp.GradScaler, iteration: int) -> None:
        """Update the scale after a step of the optimizer; the same on all ranks, whose gradients are."""
        if not scaler.is_enabled():
            return
        before = self._scale(scaler)
        scaler.update()
        scale = self._scale(scaler)
        self._skipped += scale < before
        now = torch.stack([scale, torch.full_like(scale, iteration + 1)])
        self._too_low = torch.where((scale < LEAST_SCALE) & (self._too_low[1] == 0), now, self._too_low)

    def _scale(self, scaler: torch.amp.GradScaler) -> Tensor:
        """The scale on the device, for which `get_scale` would make the host wait."""
        scale: Tensor = scaler.scale(self._one)
        return scale

    def check(self) -> None:
        """Raise DivergedError if the scale has fallen below LEAST_SCALE. Synchronises with the device."""
        scale, iteration = self._too_low.tolist()
        if iteration:
            raise DivergedError(
                f"gradients must be finite at a loss scale of {LEAST_SCALE:g} or more, but they were not at iteration "
                f"{iteration - 1:.0f}, and the scale fell to {scale:g}; lower train.optimizer.lr, or use bfloat16 or "
                "float32"
            )

    def state_dict(self) -> dict[str, Any]:
        """The steps skipped since the last `drain`, after `check`; the scale itself is the scaler's."""
        return {"skipped": int(self._skipped)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such a count."""
        self._skipped.fill_(state["skipped"])

    def drain(self, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """The steps skipped since the last call, and the scale; nothing where losses are not scaled."""
        if not scaler.is_enabled():
            return {}
        skipped = int(self._skipped)
        self._skipped.zero_()
        return {"train/skipped_steps": skipped, "train/loss_scale": scaler.get_scale()}

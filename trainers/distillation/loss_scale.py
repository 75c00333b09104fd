"""The loss scale of float16 training: how many steps it skipped, and when it cannot be saved any more.

PyTorch's scaler skips a step whose gradients are not finite and halves the scale. That is normal while it looks for the
scale; where gradients are never finite, nothing is trained, and only the scale tells.
"""

from collections.abc import Mapping
from typing import Any

import torch

from trainers.distillation.objective import DivergedError

LEAST_SCALE = 1e-2
"""A network whose gradients overflow at this scale of the loss overflows without any."""


class LossScale:
    """Counts the steps that a scaler skipped since the last report."""

    def __init__(self) -> None:
        self._skipped = 0

    def update(self, scaler: torch.amp.GradScaler, iteration: int) -> None:
        """Update the scale after a step of the optimizer; the same on all ranks, whose gradients are.

        Raises:
            DivergedError: it has fallen below LEAST_SCALE.
        """
        if not scaler.is_enabled():
            return
        before = scaler.get_scale()
        scaler.update()
        scale = scaler.get_scale()
        self._skipped += scale < before
        if scale < LEAST_SCALE:
            raise DivergedError(
                f"gradients must be finite at a loss scale of {LEAST_SCALE:g} or more, but they were not at iteration "
                f"{iteration}, and the scale fell to {scale:g}; lower train.optimizer.lr, or use bfloat16 or float32"
            )

    def state_dict(self) -> dict[str, Any]:
        """The steps skipped since the last `drain`; the scale itself is the scaler's."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such a count."""
        self._skipped = state["skipped"]

    def drain(self, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """The steps skipped since the last call, and the scale; nothing where losses are not scaled."""
        if not scaler.is_enabled():
            return {}
        skipped, self._skipped = self._skipped, 0
        return {"train/skipped_steps": skipped, "train/loss_scale": scaler.get_scale()}

"""Reference cases as tensors, and what agreeing with one means."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conftest import arrays
from trainers.data import IGNORE


class Reference:
    """Inputs, loss and gradients of one reference case.

    CIRKD and RDD ignore label -1; `labels` has IGNORE there.
    """

    def __init__(self, case: dict[str, Any], dtype: torch.dtype = torch.float64) -> None:
        self.params = case["params"]
        self.tolerance = case["tolerance"]
        self.dtype = dtype
        self.stored = arrays(case)

    @property
    def labels(self) -> Tensor:
        labels = torch.from_numpy(self.stored["target"])
        return labels.masked_fill(labels == -1, IGNORE)

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.stored[name]).to(self.dtype)

    def leaves(self, *names: str) -> list[Tensor]:
        return [self[name].requires_grad_() for name in names]

    def agrees(self, loss: Tensor, expected: Any = None, **leaves: Tensor) -> None:
        """The loss is the stored one (or `expected`), and so is its gradient for every leaf."""
        single = self.dtype == torch.float32
        rtol = self.tolerance["f32_loss_rtol"] if single else 1e-7
        expected = self._loss if expected is None else expected
        np.testing.assert_allclose(loss.item(), expected, rtol=rtol)
        gradients = torch.autograd.grad(loss, list(leaves.values())) if leaves else ()
        for name, gradient in zip(leaves, gradients, strict=True):
            stored = torch.from_numpy(self.stored[f"grad_{name}"])
            rtol = self.tolerance["f32_grad_rtol_of_max"] if single else 1e-6
            assert (gradient - stored).abs().max() <= rtol * stored.abs().max(), name

    @property
    def _loss(self) -> float:
        return float(self.stored["loss_f64" if "loss_f64" in self.stored else "loss"])

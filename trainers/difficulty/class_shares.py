"""Sum of a weighting's pixel weights per class: accumulated on the device at every step, read at every evaluation."""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainers.distributed.ranks import world_size

NameT = TypeVar("NameT", bound=Hashable)


class ClassShares(Generic[NameT]):
    """Labelled pixels of each class, and the sum of their weights, by mask, since the last `drain`.

    For a mask that sum is the number of pixels it keeps. The device is not synchronised before `drain`, or before a
    checkpoint between two evaluations, which holds these sums.

    Args:
        num_classes: classes of the dataset, the ignored label not counted.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums: dict[NameT, Tensor] = {}

    @torch.no_grad()
    def add(self, name: NameT, labels: Tensor, weight: Tensor) -> None:
        """Add a batch to the sums of the mask `name`.

        Args:
            name: all ranks add to the same names in the same order.
            labels: int64 [B, H, W], IGNORE where unlabelled; such pixels do not count.
            weight: of every pixel, bool or floating point [B, H, W].
        """
        # every row of an image sums for itself, else a GPU's threads would wait for one another at a few sums;
        # bincount makes them wait for the host
        rows = labels.flatten(0, -2).clamp(max=self._num_classes)
        sums = torch.zeros(2, len(rows), self._num_classes + 1, dtype=torch.float64, device=labels.device)
        sums[0].scatter_add_(1, rows, weight.reshape(rows.shape).double())
        sums[1].scatter_add_(1, rows, sums.new_ones(()).expand(rows.shape))
        total = sums.sum(1)[:, :-1]
        self._sums[name] = self._sums[name] + total if name in self._sums else total

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums since the last `drain`; of names that a file can hold."""
        return {"sums": {name: value.cpu() for name, value in self._sums.items()}}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such sums."""
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}

    def drain(self) -> dict[NameT, Tensor]:
        """The sums over all ranks since the last call, by mask, which start again at 0.

        Returns:
            float64 [2, C] on the CPU: sum of the weights, labelled pixels.
        """
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values()))
        if world_size() > 1:
            dist.all_reduce(sums)
        names, self._sums = list(self._sums), {}
        return dict(zip(names, sums.cpu(), strict=True))


def mask_metrics(shares: dict[str, Tensor], class_names: tuple[str, ...]) -> dict[str, float]:
    """The sums of `drain` as metrics with flat names; only of classes that had labelled pixels.

    Returns:
        {"mask/NAME/kept_pixels/CLASS": sum of the weights, "mask/NAME/valid_pixels/CLASS": labelled pixels}.
    """
    return {
        f"mask/{name}/{what}/{class_name}": value
        for name, sums in shares.items()
        for class_name, kept, valid in zip(class_names, *sums.tolist(), strict=True)
        if valid
        for what, value in (("kept_pixels", kept), ("valid_pixels", valid))
    }

"""TrialContext: all that a training loop asks of its surroundings, and the one for a loop that runs without Ray.

The loop knows rank, world size, device, how to report, and where its last checkpoint is. Who starts the ranks and
keeps the checkpoints is not its business, so the same loop runs in a notebook, in a Ray Train worker and inside Tune's
process.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import torch

from trainers.checkpoint_folder import KEEP, WRITING, Checkpoints

Metrics = Mapping[str, float | int | str]


class TrialContext(Protocol):
    """What surrounds one rank of a trial."""

    rank: int
    world_size: int
    device: torch.device

    def scratch(self) -> Path:
        """Where the next checkpoint is to be written: a folder that is made anew each time."""
        ...

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        """Hand over an evaluation's metrics (flat, plain numbers) and a checkpoint.

        All ranks call it equally often; `checkpoint`, a folder of `scratch`, is None on all but rank 0. The folder
        then belongs to the context.
        """
        ...

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Gives the folder of the last checkpoint that is whole, or None where there is none; the same on all ranks.

        Damaged ones that are passed over are told of.
        """
        ...


class LocalContext:
    """One rank without Ray: the newest `keep` checkpoints and the best one lie in `folder`, reports in `reports`."""

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
        keep: int = KEEP,
    ) -> None:
        self.folder = folder
        self.rank, self.world_size = rank, world_size
        self.device = device or torch.device("cpu")
        self.reports: list[dict[str, float | int | str]] = []
        self._checkpoints = Checkpoints(folder, keep)

    def scratch(self) -> Path:
        return self.folder / WRITING

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            iteration, best = int(metrics["iteration"]), int(metrics["best/iteration"])
            self._checkpoints.add(checkpoint, iteration=iteration, best=best)
        self.reports.append(dict(metrics))

    def checkpoints(self) -> list[Path]:
        """The folders of all checkpoints in place, oldest first."""
        return self._checkpoints.all()

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        found, message = self._checkpoints.latest()
        if message:
            self.warn(message)
        return nullcontext(found)

    def warn(self, message: str) -> None:
        """Tell of what went wrong and did not end the trial."""
        warnings.warn(message, stacklevel=3)

"""TrialContext: the interface between a training loop and what runs it, and its implementation without Ray.

It gives rank, world size, device and the last checkpoint, and takes reports and checkpoints. The loop neither starts
ranks nor stores checkpoints, so the same loop runs in a notebook, in a Ray Train worker and in Tune's own process.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import torch

from trainers.checkpoints.base import KEEP
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.requests import Request
from trainers.resources.progress import Progress

Metrics = Mapping[str, float | int | str]


class StopRequestedError(Exception):
    """The trial was asked to stop, and has left a checkpoint of `iteration` from which it goes on."""

    def __init__(self, iteration: int) -> None:
        super().__init__(f"stopped at iteration {iteration}")
        self.iteration = iteration


class TrialContext(Protocol):
    """The environment of one rank of a trial."""

    rank: int
    world_size: int
    device: torch.device

    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        """Store the checkpoint of an evaluation.

        Called on rank 0 alone, before it reports that evaluation, and from another thread than the one that trains.

        Args:
            metrics: of the evaluation; "iteration" names the checkpoint.
            files: contents by file name.
        """
        ...

    def write_interim(self, iteration: int, files: Mapping[str, bytes]) -> None:
        """Store a checkpoint between two evaluations, in the place of an earlier one of these; called as `write` is.

        Args:
            iteration: that names it.
            files: contents by file name.
        """
        ...

    def drop(self) -> None:
        """Remove a checkpoint that was written and will not be reported."""
        ...

    def requested(self) -> Request:
        """What the trial was asked to do since the last call; called on rank 0 alone."""
        ...

    def show_progress(self, progress: Progress) -> None:
        """Say how far the trial is between two evaluations; called on rank 0 alone, about once a second."""
        ...

    def report(self, metrics: Metrics) -> None:
        """Report the metrics of an evaluation: a flat mapping of plain values. All ranks call it equally often."""
        ...

    def warn(self, message: str) -> None:
        """Warn of a fault that does not end the trial."""
        ...

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Enter the folder of the newest undamaged checkpoint, the same on all ranks; None where there is none.

        Warns of newer ones that are damaged.
        """
        ...


class LocalContext:
    """One rank without Ray: its reports are appended to `reports`, its checkpoints stored on disk or in a store.

    Args:
        folder: of the trial.
        place: folder or URL of the checkpoints; `folder` by default.
        device: that trains; the CPU by default.
        rank: of this process.
        world_size: number of ranks.
        keep: number of newest checkpoints that are kept, in addition to the best one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        place: str | None = None,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
        keep: int = KEEP,
    ) -> None:
        self.folder = folder
        self.rank, self.world_size = rank, world_size
        self.device = device or torch.device("cpu")
        self.reports: list[dict[str, float | int | str]] = []
        self._checkpoints = checkpoints_at(place or folder, keep)

    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        self._checkpoints.write(files, **_when(metrics))

    def write_interim(self, iteration: int, files: Mapping[str, bytes]) -> None:
        self._checkpoints.write_interim(files, iteration=iteration)

    def drop(self) -> None:
        self._checkpoints.drop()

    def requested(self) -> Request:
        return Request.NONE

    def show_progress(self, progress: Progress) -> None:
        pass

    def report(self, metrics: Metrics) -> None:
        if self.rank == 0:
            self._checkpoints.add(**_when(metrics))
        self.reports.append(dict(metrics))

    def checkpoints(self) -> list[Path]:
        """Paths of all checkpoints, oldest first; for checkpoints in a folder only."""
        return [Path(address) for address in self._checkpoints.all()]

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        with self._checkpoints.latest() as (found, message):
            if message:
                self.warn(message)
            yield found

    def warn(self, message: str) -> None:
        """Warn of a fault that does not end the trial."""
        warnings.warn(message, stacklevel=4)


def _when(metrics: Metrics) -> dict[str, int]:
    return {"iteration": int(metrics["iteration"]), "best": int(metrics["best/iteration"])}

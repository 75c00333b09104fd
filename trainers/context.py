"""TrialContext: all that a training loop asks of its surroundings, and the one for a loop that runs without Ray.

The loop knows rank, world size, device, how to report, and what its last checkpoint is. Who starts the ranks and
keeps the checkpoints is not its business, so the same loop runs in a notebook, in a Ray Train worker and inside Tune's
process.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import torch

from trainers.checkpoints.base import KEEP
from trainers.checkpoints.places import checkpoints_at

Metrics = Mapping[str, float | int | str]


class TrialContext(Protocol):
    """What surrounds one rank of a trial."""

    rank: int
    world_size: int
    device: torch.device

    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        """Bring the checkpoint of an evaluation, its files by name, to where it is kept.

        Rank 0 alone calls it, before it reports that evaluation, and from another thread than the one that trains.
        """
        ...

    def drop(self) -> None:
        """Take back what was written and will not be reported."""
        ...

    def report(self, metrics: Metrics) -> None:
        """Hand over an evaluation's metrics: flat, plain numbers. All ranks call it equally often."""
        ...

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Gives the folder of the last checkpoint that is whole, or None where there is none; the same on all ranks.

        Damaged ones that are passed over are told of.
        """
        ...


class LocalContext:
    """One rank without Ray: what it reports lies in `reports`, and its checkpoints on disk or in a store.

    Args:
        folder: of the trial.
        place: folder or URL of the checkpoints; `folder` by default.
        keep: newest checkpoints that are kept, beside the best one.
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

    def drop(self) -> None:
        self._checkpoints.drop()

    def report(self, metrics: Metrics) -> None:
        if self.rank == 0:
            self._checkpoints.add(**_when(metrics))
        self.reports.append(dict(metrics))

    def checkpoints(self) -> list[Path]:
        """All checkpoints in place, oldest first, where they lie in a folder."""
        return [Path(address) for address in self._checkpoints.all()]

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        with self._checkpoints.latest() as (found, message):
            if message:
                self.warn(message)
            yield found

    def warn(self, message: str) -> None:
        """Tell of what went wrong and did not end the trial."""
        warnings.warn(message, stacklevel=4)


def _when(metrics: Metrics) -> dict[str, int]:
    return {"iteration": int(metrics["iteration"]), "best": int(metrics["best/iteration"])}

"""TrialContext: all that a training loop asks of its surroundings, and the one for a loop that runs without Ray.

The loop knows rank, world size, device, how to report, and where its last checkpoint is. Who starts the ranks and
keeps the checkpoints is not its business, so the same loop runs in a notebook, in a Ray Train worker and inside Tune's
process.
"""

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import torch

Metrics = Mapping[str, float | int | str]


class TrialContext(Protocol):
    """What surrounds one rank of a trial."""

    rank: int
    world_size: int
    device: torch.device

    def scratch(self) -> Path:
        """A new empty folder to write the next checkpoint into."""
        ...

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        """Hand over an evaluation's metrics (flat, plain numbers) and a checkpoint.

        All ranks call it equally often; `checkpoint`, a folder of `scratch`, is None on all but rank 0. The folder
        then belongs to the context.
        """
        ...

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Gives the folder of the last checkpoint, or None where there is none yet."""
        ...


class LocalContext:
    """One rank without Ray: the newest `keep` checkpoints lie in `folder`, and reports are kept in `reports`."""

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
        keep: int = 2,
    ) -> None:
        self.folder = folder
        self.rank, self.world_size, self.keep = rank, world_size, keep
        self.device = device or torch.device("cpu")
        self.reports: list[dict[str, float | int | str]] = []

    def scratch(self) -> Path:
        folder = self.folder / "checkpoint.writing"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            # renamed into place: a killed process leaves the last good checkpoint or the new one, never half of one
            checkpoint.rename(self.folder / f"checkpoint_{int(metrics['iteration']):09d}")
            for old in self.checkpoints()[: -self.keep]:
                shutil.rmtree(old)
        self.reports.append(dict(metrics))

    def checkpoints(self) -> list[Path]:
        """The folders of all complete checkpoints, oldest first."""
        return sorted(self.folder.glob("checkpoint_[0-9]*"))

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        found = self.checkpoints()
        return nullcontext(found[-1] if found else None)

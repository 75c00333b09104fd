"""What runs on a rank that Ray started: the only place of this package that knows Ray.

Failures that a retry would only repeat (data, configuration, divergence, memory) are returned as an "error", because
Ray's retries are for lost machines.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainers.config import TrialConfig, parse
from trainers.context import LocalContext, Metrics, TrialContext
from trainers.loop import train
from trainers.memory import noted_peak, peak_mib
from trainers.objective import DivergedError


class RayTrainContext:
    """One rank of a Ray Train worker group; Ray keeps the checkpoints."""

    def __init__(self) -> None:
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()

    def scratch(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="checkpoint"))

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        import ray.train

        ray.train.report(
            dict(metrics),
            checkpoint=None if checkpoint is None else ray.train.Checkpoint(str(checkpoint)),
            checkpoint_dir_name=f"checkpoint_{metrics['iteration']:09d}",
            delete_local_checkpoint_after_upload=True,
        )

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)


class InlineContext(LocalContext):
    """The one rank of a trial in Tune's own process: reports go to Tune as they come."""

    def __init__(self, folder: Path, on_report: Callable[[dict[str, Any]], None]) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(folder, device=device)
        self._on_report = on_report

    def report(self, metrics: Metrics, checkpoint: Path | None) -> None:
        super().report(metrics, checkpoint)
        self._on_report(dict(metrics))


def train_rank(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The training function of every rank: `arguments` holds "config" (plain), "folder" and "loader_workers"."""
    context = RayTrainContext()
    with noted_peak(Path(arguments["folder"]), context.rank):
        return attempt(arguments["config"], context, arguments["loader_workers"])


def attempt(values: object, context: TrialContext, loader_workers: int) -> dict[str, Any]:
    """Train and return the last metrics, or what went wrong under "error"."""
    try:
        return dict(train(parse(TrialConfig, values), context, loader_workers=loader_workers))
    except (ValueError, DivergedError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _lacks_memory(error):
            raise
        # alone on one of several ranks, the others would wait for it for ever: let Ray end them all
        if context.world_size > 1 and not isinstance(error, DivergedError):
            raise
        return {"error": _told(error), "memory/peak_mib": peak_mib(context.device)}


def _lacks_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed: on the CPU PyTorch has no exception of its own for that."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _told(error: Exception) -> str:
    """Kind and message, without the traceback that a loader's process puts before its message."""
    kind = type(error).__name__
    message = str(error).rpartition("\n" + kind + ": ")[2]
    return f"{kind}: {message.strip()}"

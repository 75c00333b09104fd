"""The training function of a rank that Ray started; the only module of this package that imports Ray.

Failures that a retry would only repeat (data, configuration, divergence, memory) are returned as an "error", or raised
as a PermanentError by one of several ranks, because Ray's retries are for lost machines.
"""

import re
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from trainers.addresses import joined
from trainers.checkpoints.interval import Interval
from trainers.checkpoints.places import opened
from trainers.checkpoints.requests import Request, Requests
from trainers.config import TrialConfig, parse
from trainers.context import LocalContext, Metrics, StopRequestedError, TrialContext
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.fingerprint import refuse_changed
from trainers.distillation.objective import DivergedError
from trainers.loop import AT_EVALUATIONS, train
from trainers.plugins.loading import load_values
from trainers.resources.memory import Memory, lacked_memory, limit_to_share
from trainers.resources.output import kept_output, log_file
from trainers.resources.peak_memory import noted_peak, peak_mib
from trainers.teachers.recordings.plan import RecordingPlan

CHECKPOINT = "checkpoint"
"""Key of a report that holds the address of the checkpoint that came with it."""
TRACEBACK = "traceback"
"""Key beside "error": the traceback of the exception."""
WARNING = "warning"
"""Key of a report that holds a warning: faults since the previous report that did not end the trial."""


class RayContext(LocalContext):
    """A rank under Ray: reports go to Ray with the addresses of their checkpoints.

    Args:
        folder: of the trial.
        requests: the file by which the driver asks for something; None where nobody does.
        options: of LocalContext.
    """

    _warned: str | None = None

    def __init__(self, folder: Path, *, requests: Path | None = None, **options: Any) -> None:
        super().__init__(folder, **options)
        self._requests = Requests(requests) if requests else None
        # a checkpoint that others were asked for before is none of this trial's, but a stop is
        if requests and self.requested() is Request.STOP:
            self._requests = Requests(requests)

    def requested(self) -> Request:
        return self._requests.look() if self._requests else Request.NONE

    def warn(self, message: str) -> None:
        super().warn(message)
        self._warned = f"{self._warned}; {message}" if self._warned else message

    def with_checkpoint(self, metrics: Metrics) -> dict[str, Any]:
        """Metrics with the address of their checkpoint and the warnings since the previous report, if any."""
        added = {CHECKPOINT: self._checkpoints.of(int(metrics["iteration"])), WARNING: self._warned}
        self._warned = None
        return {**metrics, **{key: value for key, value in added.items() if value is not None}}


class PermanentError(Exception):
    """A failure of one of several ranks that another start would only repeat.

    Args:
        message: the cause, in a line.
        peak: of this rank's memory, in MiB.
    """

    def __init__(self, message: str, peak: float) -> None:
        super().__init__(message, peak)  # both, because Ray pickles it
        self.message, self.peak_mib = message, peak

    def __str__(self) -> str:
        return self.message


def reserved_device() -> torch.device:
    """The device that Ray has reserved for this process: its GPU, or the CPU.

    Ray shows all GPUs of a node also to a process that has asked for none. Where a share of a GPU was reserved, PyTorch
    takes no more than that share of its memory.
    """
    import ray
    import ray.train.torch

    if not ray.get_gpu_ids():
        return torch.device("cpu")
    device: torch.device = ray.train.torch.get_device()
    limit_to_share(device, ray.get_runtime_context().get_assigned_resources()["GPU"])
    return device


class InlineContext(RayContext):
    """The one rank of a trial in Tune's own process: reports go to Tune as they come."""

    def __init__(
        self,
        folder: Path,
        on_report: Callable[[dict[str, Any]], None],
        **options: Any,
    ) -> None:
        super().__init__(folder, **options)
        self._on_report = on_report

    def report(self, metrics: Metrics) -> None:
        super().report(metrics)
        self._on_report(self.with_checkpoint(metrics))


class RayTrainContext(RayContext):
    """One rank of a Ray Train worker group.

    Ray Train itself gets no checkpoints: it would copy them again, keep others than these, and not verify them.
    """

    def __init__(self, folder: Path, place: str, requests: Path | None) -> None:
        import ray.train

        context = ray.train.get_context()
        super().__init__(
            folder,
            requests=requests,
            place=place,
            device=reserved_device(),
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
        )

    def report(self, metrics: Metrics) -> None:
        import ray.train

        super().report(metrics)
        ray.train.report(dict(metrics) if self.rank else self.with_checkpoint(metrics))

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        from ray.train.collective import broadcast_from_rank_zero

        if not self.folder.is_dir():
            raise ValueError(
                f"every node must see the study's folder, but {socket.gethostname()} has no {self.folder}; put the "
                "study where all nodes find it under one path (--out on NFS)"
            )
        if self.rank:
            address = broadcast_from_rank_zero(None)
            with opened(address) if address else nullcontext() as folder:
                yield folder
            return
        with super().latest_checkpoint() as folder:
            broadcast_from_rank_zero(folder and joined(self._checkpoints.place, folder.name))
            yield folder


def train_rank(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The training function of every rank.

    Args:
        arguments: "config" (plain), "folder", "checkpoints" (their folder or URL), "loader_workers",
            "checkpoint_every" (as `Interval.read` takes it), "dataset", the note that this machine's dataset is held
            against, or None, "requests", the file by which the driver asks for something, or None, and "decoded" and
            "recording", a DecodedPlan and a RecordingPlan in their plain forms, or None.
    """
    folder = Path(arguments["folder"])
    note, requests = (arguments.get(name) and Path(arguments[name]) for name in ("dataset", "requests"))
    context = RayTrainContext(folder, arguments["checkpoints"], requests)
    every = Interval.read(arguments["checkpoint_every"])
    with kept_output(log_file(folder, context.rank)), noted_peak(folder, context.rank):
        decoded, recording = arguments.get("decoded"), arguments.get("recording")
        return attempt(
            arguments["config"],
            context,
            arguments["loader_workers"],
            dataset=note,
            checkpoint_every=every,
            decoded=decoded and parse(DecodedPlan, decoded),
            recording=recording and parse(RecordingPlan, recording),
        )


def attempt(
    values: object,
    context: TrialContext,
    loader_workers: int,
    *,
    dataset: Path | None = None,
    checkpoint_every: Interval = AT_EVALUATIONS,
    decoded: DecodedPlan | None = None,
    recording: RecordingPlan | None = None,
) -> dict[str, Any]:
    """Train and return the last metrics, or what went wrong under "error", or "stopped" where that was asked for.

    One of several ranks raises what went wrong, because the others would wait for it for ever: Ray ends them all. An
    "error" has its traceback beside it.

    Args:
        values: a TrialConfig in its plain form.
        context: of this rank.
        loader_workers: processes that read and augment images.
        dataset: the note that this machine's dataset is held against first, None for no look at it.
        checkpoint_every: interval of the checkpoints between evaluations.
        decoded: where decoded images are kept for other trials; None for nowhere.
        recording: which outputs of the teacher are recorded, and where; None for none.

    Raises:
        PermanentError: on several ranks, for what one rank returns as an "error".
        RuntimeError: for what another start may not meet.
    """
    try:
        load_values(values)
        config = parse(TrialConfig, values)
        if dataset is not None:
            refuse_changed(config.data, dataset)
        return dict(
            train(
                config,
                context,
                loader_workers=loader_workers,
                checkpoint_every=checkpoint_every,
                decoded=decoded,
                recording=recording,
            )
        )
    except StopRequestedError as stop:
        return {"stopped": True, "iteration": stop.iteration}
    except (ValueError, DivergedError, MemoryError, RuntimeError) as error:
        memory = lacked_memory(error)
        if isinstance(error, RuntimeError) and memory is None:
            raise
        peak = peak_mib(torch.device("cpu") if memory == "host" else context.device)
        message = f"{_message(error).splitlines()[0]}{_used(memory, peak)}" if memory else _message(error)
        # all ranks diverge together
        if context.world_size > 1 and not isinstance(error, DivergedError):
            raise PermanentError(message, peak) from error
        text = "".join(traceback.format_exception(error))
        return {"error": message, TRACEBACK: text, "memory/peak_mib": peak}


def _used(memory: Memory, peak: float) -> str:
    whose = "allocated on the GPU" if memory == "GPU" else "resident in the process"
    return f"; the peak was {peak:.0f} MiB {whose}; lower train.batch or augment.crop"


def _message(error: Exception) -> str:
    """Kind and message, without the traceback that a loader's process puts before its message."""
    kind = type(error).__name__
    message = re.split(rf"\n(?:\w+\.)*{kind}: ", str(error))[-1]
    return f"{kind}: {message.strip()}"

"""RecordedTeacher: a teacher that is asked only for what no trial has recorded yet.

What it gives is bit for bit what the teacher itself computes, and does not depend on what is recorded. The network is
loaded when it is first asked; a trial whose iterations are all recorded never loads it.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trainers.config import TrialConfig
from trainers.context import TrialContext
from trainers.data.fingerprint import is_known
from trainers.models import Taps
from trainers.registry import module_of
from trainers.teachers.outputs import LiveTeacher
from trainers.teachers.recordings import files
from trainers.teachers.recordings.key import key_hash, recording_key
from trainers.teachers.recordings.plan import RecordingPlan
from trainers.teachers.recordings.reading import ReadAhead, Reading
from trainers.teachers.recordings.spans import Span
from trainers.teachers.recordings.writing import Recorder

COMPARED = 32
"""Recorded iterations over which the time to read is compared with the time to compute."""


def recorded_teacher(
    live: LiveTeacher,
    plan: RecordingPlan,
    config: TrialConfig,
    context: TrialContext,
    *,
    boundary: Callable[[int], int],
) -> "RecordedTeacher | None":
    """A teacher of a trial whose outputs are recorded as planned.

    None where the plan only reads and there is nothing to read, where nothing tells of a change of the images, and,
    with a warning, where its folder cannot be used.

    Args:
        live: the teacher itself.
        plan: what is recorded, and where.
        config: the trial.
        context: of this rank.
        boundary: given an iteration, the one before which a chunk that holds it ends.

    Raises:
        ValueError: a file of the dataset cannot be read.
    """
    if not is_known(module_of(config.data).Dataset(config.data, "train")):
        return None
    key = recording_key(config, device=context.device, ranks=context.world_size)
    try:
        folder = _opened(plan, key, context.rank)
    except OSError as error:
        context.warn(
            f"recordings of the teacher's outputs need a folder that can be written to, but {plan.folder} is none: "
            f"{error.strerror or error}; this trial goes on with a live teacher. Name another folder"
        )
        return None
    if folder is None:
        return None
    return RecordedTeacher(live, plan, folder, iterations=config.train.iterations, boundary=boundary, warn=context.warn)


def _opened(plan: RecordingPlan, key: Mapping[str, Any], rank: int) -> Path | None:
    """The folder of a rank's chunks under a key, noted as used now; made where it does not exist and may be made."""
    recording = Path(plan.folder) / key_hash(key)
    folder, note = files.rank_folder(recording, rank), recording / files.KEY
    if not plan.max_bytes:
        with suppress(OSError):  # whoever may read it need not be allowed to note that
            os.utime(note)
        return folder if folder.is_dir() else None
    folder.mkdir(parents=True, exist_ok=True)
    if not note.exists():
        writing = note.with_name(f"{note.name}.{os.getpid()}-{rank}")
        writing.write_text(json.dumps(key, sort_keys=True, indent=1))
        writing.replace(note)
    with suppress(PermissionError):  # another user's, whose chunks can be read all the same
        os.utime(note)
    return folder


class RecordedTeacher:
    """The outputs of a teacher, read where they are recorded, else computed and recorded.

    To be used as a context manager around a trial's steps, which ask for one iteration after the other.

    Args:
        live: the teacher itself.
        plan: what is recorded.
        folder: of the rank's chunks; it exists.
        iterations: length of the trial.
        boundary: given an iteration, the one before which a chunk that holds it ends.
        warn: called with what is to be said, from the thread that trains.
    """

    def __init__(
        self,
        live: LiveTeacher,
        plan: RecordingPlan,
        folder: Path,
        *,
        iterations: int,
        boundary: Callable[[int], int],
        warn: Callable[[str], None],
    ) -> None:
        self.channels = live.channels
        self._teacher, self._wanted, self._warn = live.teacher, live.wanted, warn
        self._folder, self._iterations = folder, iterations
        there = {tap: stop for tap, stop in plan.taps.items() if tap in live.channels}
        self._recorder = Recorder(replace(plan, taps=there), folder, boundary)
        self._reader: ReadAhead | None = None
        self._reads, self._waited, self._computing = 0, 0.0, 0.0
        self._too_slow = False
        self._recorded_steps, self._live_steps = 0, 0

    def outputs(self, images: Tensor, dtype: torch.dtype, *, iteration: int) -> Taps:
        """The taps that the trial reads at an iteration; see `TeacherOutputs`."""
        reading = self._read(iteration, images.device)
        self._pass_on(self._recorder.faults)
        if reading is None and self._wanted(iteration):
            self._live_steps += 1
            return self._computed(images, dtype, iteration)
        self._recorder.end()
        if reading is None or not reading.taps:
            return {}
        self._recorded_steps += 1
        return reading.on(images.device)

    def _computed(self, images: Tensor, dtype: torch.dtype, iteration: int) -> Taps:
        wanted, recorded = self._wanted(iteration), self._recorder.wanted(iteration)
        self._teacher.load()  # outside of the time that is taken
        with Span(images.device) as span:
            taps = self._teacher.taps(images, dtype, wanted | recorded)
        self._recorder.add(iteration, {name: taps[name] for name in recorded}, span)
        return {name: taps[name] for name in wanted}

    def _read(self, iteration: int, device: torch.device) -> Reading | None:
        if self._too_slow:
            return None
        if self._reader is None:
            self._reader = ReadAhead(
                self._folder,
                self._wanted,
                start=iteration,
                stop=self._iterations,
                pinned=device.type == "cuda",
            )
        reading, waited = self._reader.take()
        self._pass_on(self._reader.damaged)
        if reading is not None and reading.live_seconds:
            self._compare(waited, reading.live_seconds)
        return reading

    def _compare(self, waited: float, live_seconds: float) -> None:
        """Give reading up where computing is faster."""
        self._reads += 1
        self._waited += waited
        self._computing += live_seconds
        if self._reads < COMPARED:
            return
        if self._waited > self._computing:
            self._too_slow = True
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            self._recorder.stop()
            self._warn(
                f"reading recorded outputs of the teacher must be faster than computing them, but took "
                f"{1000 * self._waited / COMPARED:.0f} ms an iteration, not {1000 * self._computing / COMPARED:.0f}; "
                "this trial goes on with a live teacher. Put the recordings on a faster disk"
            )
        self._reads, self._waited, self._computing = 0, 0.0, 0.0

    def _pass_on(self, messages: deque[str]) -> None:
        while messages:
            self._warn(messages.popleft())

    def state_dict(self) -> dict[str, Any]:
        """The steps counted since the last `drain`."""
        return {"recorded": self._recorded_steps, "live": self._live_steps}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from such counts."""
        self._recorded_steps, self._live_steps = state["recorded"], state["live"]

    def drain(self) -> dict[str, float | int | str]:
        """Steps with recorded and with live outputs since the last call; ends the chunk that is being written."""
        self._recorder.end()
        steps: dict[str, float | int | str] = {
            "time/teacher_recorded_steps": self._recorded_steps,
            "time/teacher_live_steps": self._live_steps,
        }
        self._recorded_steps, self._live_steps = 0, 0
        return steps

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
        self._recorder.close()
        self._pass_on(self._recorder.faults)

"""Processes that stand for trials while a study is planned: one each, so that memory and faults are each one's own."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from study import ROOT
from study.execution.planning.answers import (
    DO,
    ERROR,
    IMPORT_S,
    LACKS,
    MEASURE,
    MEMORY,
    REPORT,
    STEPS,
    TIME_STEPS,
    TIMES,
    TRAIN,
)
from trainers.config import TrialConfig, plain
from trainers.costs.trial import TrialMemory, TrialTimes
from trainers.plugins.content import Plugin
from trainers.resources.memory import Memory

LOOK_EVERY_S = 0.2
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from study.execution.planning.child import main; main()"


class TrialFaultError(ValueError):
    """A trial cannot be trained.

    Args:
        message: why, in a line.
        lacks: the memory that did not suffice, None for another reason.
    """

    def __init__(self, message: str, lacks: Memory | None = None) -> None:
        super().__init__(message)
        self.lacks = lacks


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how a trial's one rank runs.

    Attributes:
        gpu_share: of one GPU; 0 for the CPU.
        gpu: which one, by its number among those that this process may use.
        loader_workers: processes that read and augment images.
        host_mib: memory of this machine that it may take, with its loader's processes.
    """

    gpu_share: float = 0.0
    gpu: int = 0
    loader_workers: int = 0
    host_mib: float


class TrialProcess:
    """A process that trains or measures one trial; a context, at whose end it is gone.

    Args:
        placement: where it runs.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._folder = tempfile.TemporaryDirectory(prefix="kdstudy-plan-")
        self.folder = Path(self._folder.name)
        self._printed = (self.folder / "log.txt").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
            env=_environment(placement),
        )
        self._loaders_mib = 0.0
        self.import_s = 0.0
        """Seconds that it took to start, known once its memory is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._printed.close()
        self._folder.cleanup()

    def memory(self, trial: TrialConfig) -> TrialMemory:
        """Build the trial and take its first steps; what it takes, its loader's processes among it.

        Raises:
            TrialFaultError: it cannot be built or trained, or takes more memory than there is.
        """
        self._ask(MEASURE, {"trial": plain(trial)})
        answer = self._answer()
        self.import_s, found = answer[IMPORT_S], TrialMemory(**answer[MEMORY])
        return replace(found, host_mib=found.host_mib + self._loaders_mib)

    def begin(self) -> None:
        """Let it take the steps whose time counts."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer says what has ended it
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def times(self) -> TrialTimes:
        """What its parts took.

        Raises:
            TrialFaultError: it has failed.
        """
        return TrialTimes(**self._answer()[TIMES])

    def train(self, trial: TrialConfig) -> None:
        """Begin to train a trial to its end, in `folder`."""
        self._ask(TRAIN, {"trial": plain(trial)})

    def report(self) -> dict[str, Any]:
        """The last report of the trial that is trained.

        Raises:
            TrialFaultError: it has failed.
        """
        return dict(self._answer()[REPORT])

    def steps(
        self, trials: Mapping[str, TrialConfig], teacher: object | None, plugins: Mapping[str, Plugin]
    ) -> dict[str, float]:
        """Seconds of a step of each of several trials, without the reading of its images.

        Args:
            trials: by name; their teacher's file need not be there.
            teacher: configuration of the teacher's network; None where no trial has one.
            plugins: that they have parts of.

        Raises:
            TrialFaultError: one cannot be built or trained, or takes more memory than there is.
        """
        named = {name: plain(trial) for name, trial in trials.items()}
        self._ask(TIME_STEPS, {"trials": named, "teacher": plain(teacher), "plugins": plain(plugins)})
        found: dict[str, float] = self._answer()[STEPS]
        return found

    def _ask(self, what: str, about: Mapping[str, Any]) -> None:
        request = {
            DO: what,
            **about,
            "folder": str(self.folder),
            "loader_workers": self._placement.loader_workers,
            "gpu_share": self._placement.gpu_share,
        }
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        """The next answer. Meanwhile the process's memory is looked at, before the system ends another for the lack."""
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], LOOK_EVERY_S)[0]:
            self._refuse_too_large()
        line = self._process.stdout.readline()
        if not line:
            self._end()
            raise TrialFaultError(self._why_ended(), "host" if self._process.returncode == -9 else None)
        found: dict[str, Any] = json.loads(line)
        if ERROR in found:
            raise TrialFaultError(found[ERROR], found[LACKS])
        return found

    def _refuse_too_large(self) -> None:
        with suppress(psutil.Error):  # it has ended meanwhile
            process = psutil.Process(self._process.pid)
            own = process.memory_info().rss / 2**20
            self._loaders_mib = max(self._loaders_mib, sum(map(_own_mib, process.children(recursive=True))))
            if own + self._loaders_mib > self._placement.host_mib:
                self._end()
                raise TrialFaultError(f"it takes more than {self._placement.host_mib:.0f} MiB of host memory", "host")

    def _why_ended(self) -> str:
        self._printed.seek(0)
        last = self._printed.read().strip().splitlines()[-1:]
        return f"its process ended with code {self._process.returncode}: {last[0] if last else 'it printed nothing'}"

    def _end(self) -> None:
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _environment(placement: Placement) -> dict[str, str]:
    if not placement.gpu_share:
        return {**os.environ}
    usable = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpu = usable.split(",")[placement.gpu] if usable else str(placement.gpu)
    return {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}


def _own_mib(process: psutil.Process) -> float:
    """What a process of the loader has copied or made, and not what it reads of its parent."""
    try:
        return float(process.memory_full_info().uss) / 2**20
    except psutil.Error:
        return 0.0

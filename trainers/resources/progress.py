"""How far a trial is between two evaluations: a small file of its own, written while it trains, for whoever watches.

The file is written in place, because NFS looks at a file that it knows whenever it is opened, and a full disk is no
reason to end a trial here.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

NOTE = "progress.json"
EVERY_S = 1.0
"""Seconds between two notes, at the least."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a running trial says of itself.

    Attributes:
        iteration: number of steps done.
        seconds: of the trial so far, over all its attempts.
        steps_per_s: over the steps since the last note, without evaluations.
        loss: mean over the steps since the last evaluation, on the first rank; None before it was looked at.
    """

    iteration: int
    seconds: float
    steps_per_s: float
    loss: float | None = None

    def write(self, folder: Path) -> None:
        """Leave it in a trial's folder, in the place of an earlier one."""
        with suppress(OSError):
            (folder / NOTE).write_text(f"{json.dumps(asdict(self))}\n")

    @classmethod
    def read(cls, folder: Path) -> "Progress | None":
        """The last one of a trial; None where there is none, or it is being written."""
        with suppress(OSError, ValueError, TypeError):
            text = (folder / NOTE).read_text()
            return cls(**json.loads(text)) if text.endswith("\n") else None
        return None


class ProgressNotes:
    """Decides when a trial says how far it is.

    Args:
        show: takes what it says.
        iteration: number of steps done so far.
        seconds: of the trial so far.
        clock: seconds.
    """

    def __init__(
        self,
        show: Callable[[Progress], None],
        iteration: int,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show, self._clock, self._began = show, clock, clock() - seconds
        self._loss: float | None = None
        self._loss_at = float("-inf")
        self.restart(iteration)

    def restart(self, iteration: int) -> None:
        """The steps begin, or go on after an evaluation, whose time is not counted."""
        self._iteration, self._noted_at = iteration, self._clock()

    def advance(self, iteration: int, loss: Callable[[], float | None] | None) -> None:
        """After a step: say how far the trial is, if that was long ago.

        Args:
            iteration: number of steps done.
            loss: gives the mean; None after a step at which to read it would make the host wait for the device.
        """
        now = self._clock()
        if loss is not None and now - self._loss_at >= EVERY_S:
            self._loss, self._loss_at = loss(), now
        if now - self._noted_at < EVERY_S:
            return
        rate = (iteration - self._iteration) / (now - self._noted_at)
        self._show(Progress(iteration=iteration, seconds=now - self._began, steps_per_s=rate, loss=self._loss))
        self._iteration, self._noted_at = iteration, now

"""A trial that runs, as its driver sees it: by its reports, and between them by the note that it leaves on its way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from study.ledger.trial_run import TrialRun
from trainers.resources.progress import EVERY_S, Progress


@dataclass
class RunningTrial:
    """One trial; its note is read at most once a second.

    Attributes:
        run: what it is.
        price: of one of its iterations; 1 in a study without prices.
        first: whether a process was started for it that others will use after it.
        iteration: of its last report.
        miou: of its last report.
    """

    run: TrialRun
    price: float = 1.0
    first: bool = False
    iteration: int = 0
    miou: float | None = None
    clock: Callable[[], float] = time.monotonic
    _note: Progress | None = None
    _looked: float = field(default=float("-inf"))

    @property
    def note(self) -> Progress | None:
        """What the trial last said of itself; None where that is older than its last report."""
        if self.clock() - self._looked >= EVERY_S:
            self._note, self._looked = Progress.read(Path(self.run.folder)) or self._note, self.clock()
        return self._note if self._note and self._note.iteration >= self.iteration else None

    @property
    def is_inline(self) -> bool:
        """Whether its process is kept for other trials."""
        return self.run.execution.engine == "inline"

    def text(self) -> str:
        """A line for people: `kd 0: 340/2000, 3.1 it/s, loss 0.71, mIoU 20.12`."""
        note = self.note
        parts = [f"{note.iteration if note else self.iteration}/{self.run.budget}"]
        if note:
            parts.append(f"{note.steps_per_s:.2g} it/s" if note.steps_per_s < 10 else f"{note.steps_per_s:.0f} it/s")
            parts += [] if note.loss is None else [f"loss {note.loss:.3g}"]
        parts += [] if self.miou is None else [f"mIoU {self.miou:.2f}"]
        return f"{self.run.name}: {', '.join(parts)}"

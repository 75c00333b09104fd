"""What a tracker sees of a study: a trial as Ray's logger callbacks know it, and the interface of all trackers."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray.air.constants import TRAINING_ITERATION

from study.execution.recording.rows import METRIC_FOLDERS
from study.ledger.trial_run import TrialRun


@dataclass(frozen=True)
class TrackedTrial:
    """A trial of a study, in the place of Tune's.

    Tune makes another one at every start of a driver, in a folder that is gone when the driver ends. This one has the
    same name and folder whenever it runs.

    Attributes:
        name: `ARM-N`.
        local_path: the tracker's folder of the trial.
        config: what tells it from others: its arm, its number and the parameters that are searched.
    """

    name: str
    local_path: str
    config: Mapping[str, Any] = field(hash=False)
    checkpoint = None

    @classmethod
    def of(cls, run: TrialRun, folder: Path) -> "TrackedTrial":
        """The trial of a run; `folder` is the tracker's."""
        name = f"{run.arm}-{run.number}"
        known = {"arm": run.arm, "trial": run.number, "config_hash": run.hash}
        return cls(name, str(folder / name), {**known, **run.values})

    @property
    def evaluated_params(self) -> Mapping[str, Any]:
        return self.config

    def init_local_path(self) -> None:
        """Make its folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


class Tracker(Protocol):
    """The part of Ray's LoggerCallback that is used, and the end of a study. What it raises ends the tracker alone."""

    def setup(self) -> None:
        """Called before everything else."""
        ...

    def log_trial_start(self, trial: Any) -> None:
        """A trial begins, or goes on after its process or the driver was lost or stopped."""
        ...

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """A trial was evaluated; `result` is what `tracked_metrics` gives."""
        ...

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """A trial ended, or was stopped to go on under another driver."""
        ...

    def log_verdict(self, text: str) -> None:
        """The study has come to its end."""
        ...


def tracked_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a report by name, and its iteration by Ray's name of it."""
    found = {name: value for name, value in result.items() if name.startswith(METRIC_FOLDERS) and _is_number(value)}
    return {**found, TRAINING_ITERATION: int(result["iteration"])}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def study_id(study: str, folder: Path) -> str:
    """A study's name, and what tells it from others of that name: its tracker's folder."""
    return f"{study}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def plain_name(name: str) -> str:
    """A metric's name in the characters that every tracker takes."""
    return re.sub(r"[^\w./ -]", "_", name)

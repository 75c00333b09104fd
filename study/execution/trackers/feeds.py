"""Sends what happens in a study to its trackers, each from a thread of its own.

A tracker may be slow, out of reach or broken: the driver never waits for one, and one that raises is named once and
gets nothing more.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.configuration.trackers.config import TrackersConfig
from study.execution.trackers.tracked import TrackedTrial, Tracker, tracked_metrics
from study.ledger.trial_run import TrialRun

CLOSE_S = 60.0
"""Seconds that trackers have, together, for what is left when a driver ends."""
FOLDER = "trackers"
"""In the study's folder."""

Event = Callable[[Tracker], None]


class Trackers:
    """The trackers of a study.

    Args:
        config: the study.
        folder: the study's.
        say: shows a line to the user.
    """

    def __init__(self, config: StudyConfig, folder: Path, say: Callable[[str], None]) -> None:
        place, say_of = folder / FOLDER, {name: _named(name, say) for name in config.execution.trackers.names}
        makers = _makers(config.execution.trackers, config.name, place)
        self._feeds = {name: _Feed(place / name, makers[name], said) for name, said in say_of.items()}
        self._say = say

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def start(self, run: TrialRun) -> None:
        """A trial begins or goes on."""
        self._send(run, lambda tracker, trial: tracker.log_trial_start(trial))

    def report(self, run: TrialRun, result: Mapping[str, Any]) -> None:
        """A trial was evaluated, for the first time at this iteration."""
        metrics = tracked_metrics(result)
        self._send(run, lambda tracker, trial: tracker.log_trial_result(0, trial, dict(metrics)))

    def end(self, run: TrialRun, state: TrialState | None) -> None:
        """A trial ended; None where it was stopped to go on under another driver."""
        self._send(run, lambda tracker, trial: tracker.log_trial_end(trial, failed=state == TrialState.FAIL))

    def _send(self, run: TrialRun, act: Callable[[Tracker, TrackedTrial], None]) -> None:
        for feed in self._feeds.values():
            trial = TrackedTrial.of(run, feed.folder)
            feed.send(lambda tracker, trial=trial: act(tracker, trial))  # type: ignore[misc]

    def verdict(self, text: str) -> None:
        """The study has come to its end."""
        for feed in self._feeds.values():
            feed.send(lambda tracker: tracker.log_verdict(text))

    def close(self, seconds: float = CLOSE_S) -> None:
        """Wait until the trackers have everything, but no longer than this."""
        until = time.monotonic() + seconds
        for feed in self._feeds.values():
            feed.close(max(0.0, until - time.monotonic()))


class _Feed:
    """A tracker with its thread, which ends with the process if not before.

    Args:
        folder: the tracker's.
        make: the tracker.
        say: shows a line about it.
    """

    def __init__(self, folder: Path, make: Callable[[], Tracker], say: Callable[[str], None]) -> None:
        self.folder, self._make, self._say = folder, make, say
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"tracker {folder.name}", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Hand something over, in order."""
        if self._thread.is_alive():
            self._events.put(event)

    def close(self, seconds: float) -> None:
        """End the thread once it has handed over everything."""
        self._events.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say(f"is not done after {seconds:.0f} s; what it does not have yet is lost to it")

    def _run(self) -> None:
        try:
            tracker = self._make()
            tracker.setup()
            while event := self._events.get():
                event(tracker)
        except Exception as error:  # noqa: BLE001  # a tracker's library may raise anything, and no trial shall end for it
            kind, first = type(error).__name__, (str(error).splitlines() or [""])[0]
            self._say(f"gets nothing more: {kind}: {first}; the study goes on, and its tables have everything")


def _named(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda message: say(f"warning: execution.trackers: {name} {message}")


def _makers(config: TrackersConfig, study: str, place: Path) -> Mapping[str, Callable[[], Tracker]]:
    """What makes each tracker, in its own thread: their libraries take seconds to import."""

    def tensorboard() -> Tracker:
        from study.execution.trackers.tensorboard import TensorBoard

        return TensorBoard(place / "tensorboard")

    def csv() -> Tracker:
        from study.execution.trackers.csv_files import CsvFiles

        return CsvFiles(place / "csv")

    def wandb() -> Tracker:
        from study.execution.trackers.wandb_runs import WandbRuns

        assert config.wandb is not None
        return WandbRuns(config.wandb, study, place / "wandb")

    def mlflow() -> Tracker:
        from study.execution.trackers.mlflow_runs import MlflowRuns

        assert config.mlflow is not None
        return MlflowRuns(config.mlflow, study, place / "mlflow")

    return {"tensorboard": tensorboard, "csv": csv, "wandb": wandb, "mlflow": mlflow}

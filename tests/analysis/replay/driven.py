"""Studies of synthetic curves that the ledger runs, written as tables with the times of a clock that only counts.

Trials run by turns, so many at a time, and an end may come after reports of others, as with a real driver.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from study.configuration.config import StudyConfig, prunable
from study.folder import CONFIG
from study.ledger.ledger import open_arms
from study.ledger.trial_run import Suggestion, TrialRun
from study.tables import REPORTS, TableWriter, trials_schema
from tests.benchmarks.tuning import EVERY, Landscape, in_memory
from trainers.config import TeacherFile, canonical_json, content_hash

Decision = tuple[str, int, str | None]
"""State, iterations and why it was stopped."""
Curve = Callable[[Mapping[str, Any], int, int], np.ndarray]
START = datetime(2025, 3, 1, tzinfo=UTC)


@dataclass
class Driven:
    """A study that was run.

    Attributes:
        folder: with its `study.json` and tables.
        decisions: by arm and number.
        would_stop: of trials that were let run through, by arm and number.
        costs: that each arm has spent, in whole trials.
    """

    folder: Path
    decisions: dict[tuple[str, int], Decision] = field(default_factory=dict)
    would_stop: dict[tuple[str, int], int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    def of(self, arm: str) -> dict[int, Decision]:
        return {number: decision for (name, number), decision in self.decisions.items() if name == arm}


@dataclass
class _Live:
    run: TrialRun
    curve: np.ndarray
    started: datetime
    done: int = 0
    state: TrialState | None = None


class Driver:
    """Runs a study to its end.

    Args:
        config: the study.
        folder: where its tables go.
        landscape: what trials score.
        concurrent: trials at a time.
        fails: whether a trial fails, by its number, and then after its third evaluation.
    """

    def __init__(
        self,
        config: StudyConfig,
        folder: Path,
        landscape: Landscape,
        *,
        concurrent: int = 1,
        fails: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self._config, self._landscape, self._concurrent, self._fails = config, landscape, concurrent, fails
        folder.mkdir(parents=True)
        (folder / CONFIG).write_text(canonical_json(config))
        self._arms = open_arms(config, folder, with_teacher=False)
        self._done = Driven(folder)
        self._clock, self._random = START, random.Random(7)
        self._live: list[_Live] = []
        self._rows: dict[str, list[dict[str, Any]]] = {"trials": [], "reports": []}

    def run(self) -> Driven:
        while self._begin() or self._live:
            self._step(self._random.choice(self._live))
        for name, arm in self._arms.items():
            prices = arm.spending.prices
            self._done.costs[name] = arm.spent / prices.whole_trial if prices else 0.0
            for trial in arm.study.get_trials(deepcopy=False):
                if "would_stop_at" in trial.user_attrs:
                    self._done.would_stop[name, trial.number] = trial.user_attrs["would_stop_at"]
        for name, schema in (("trials", trials_schema({})), ("reports", REPORTS)):
            with TableWriter(self._done.folder / "tables", schema) as writer:
                writer.append(self._rows[name])
        return self._done

    def _tick(self) -> datetime:
        self._clock += timedelta(seconds=1)
        return self._clock

    def _begin(self) -> bool:
        """Start what there is room for; whether anything runs."""
        while len(self._live) < self._concurrent:
            waiting = [arm for arm in self._arms.values() if not arm.exhausted]
            if not waiting:
                break
            arm = min(waiting, key=lambda arm: arm.started_share)
            suggestion = arm.ask()
            assert suggestion is not None
            run = self._run(suggestion)
            arm.note(run)
            curve = self._landscape.curve(suggestion.values, self._config.seed, suggestion.number)
            self._live.append(_Live(run, curve, self._tick()))
        return bool(self._live)

    def _run(self, suggestion: Suggestion) -> TrialRun:
        trial = self._config.trial(suggestion.arm, suggestion.values, TeacherFile(path="teacher"))
        return TrialRun(
            **vars(suggestion), trial=trial, hash=content_hash(trial), budget=trial.train.iterations,
            prunable=prunable(trial), execution=self._config.execution, folder="/trial",
        )  # fmt: skip

    def _step(self, live: _Live) -> None:
        """What the scheduler and the recorder do with the next report, or the end, of a trial."""
        if live.state is not None:
            self._end(live, live.state)
            return
        run, arm = live.run, self._arms[live.run.arm]
        live.done += 1
        iteration, score = live.done * EVERY, float(live.curve[live.done - 1])
        key = {"arm": run.arm, "trial": run.number, "iteration": iteration}
        self._rows["reports"].append({**key, "attempt": 1, "time": self._tick(), "miou_percent": score})
        arm.report(run.number, iteration, score)
        if iteration >= run.budget:
            live.state = TrialState.COMPLETE
        elif arm.should_prune(run.number) if run.prunable else arm.stop_reason(run.number, prunable=False):
            live.state = TrialState.PRUNED
        elif self._fails(run.number) and live.done == 3:
            live.state = TrialState.FAIL

    def _end(self, live: _Live, state: TrialState) -> None:
        run, arm = live.run, self._arms[live.run.arm]
        iterations, score = live.done * EVERY, float(live.curve[live.done - 1])
        row = {
            "arm": run.arm, "trial": run.number, "state": state.name, "attempts": 1, "iterations": iterations,
            "budget": run.budget, "seconds": 1.0, "gpu_seconds": 0.0, "config": "", "config_hash": run.hash,
            "started": live.started, "ended": self._tick(), "last_miou_percent": score,
            "best_miou_percent": float(live.curve[: live.done].max()), "best_iteration": iterations,
            **arm.costs(run.number, iterations), "stopped_by": arm.stopped_by(run.number),
            "earliest_stop": arm.earliest_stop(run),
        }  # fmt: skip
        self._done.decisions[run.arm, run.number] = (state.name, iterations, row["stopped_by"])
        self._rows["trials"].append(row)
        arm.tell(run.number, state, score, {"state": state.name})
        self._live.remove(live)


def drive(config: StudyConfig, folder: Path, landscape: Landscape, **options: Any) -> Driven:
    """Run a study of synthetic curves, with its ledger in memory."""
    with in_memory():
        return Driver(config, folder, landscape, **options).run()

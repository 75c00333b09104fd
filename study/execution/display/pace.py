"""What a driver knows of its trials' speed, gathered for `time_left`."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from statistics import mean
from typing import Any

from study.configuration.config import TEACHER, StudyConfig
from study.execution.display.running import RunningTrial
from study.execution.display.time_left import ArmTimes, Ended, Running, seconds_left
from study.ledger.ledger import ArmLedger
from study.ledger.rungs import ROW
from study.ledger.spending import SPENT_IN
from study.ledger.trial_run import TrialRun


class Pace:
    """Follows how long trials take, those of earlier drivers among them.

    Args:
        config: the study.
        arms: the ledger of every arm, the teacher's among them where the study trains it.
        slots: gives the number of trials of so many workers that run at a time.
        recorded: arms whose trials read recorded outputs of the teacher.
    """

    def __init__(
        self,
        config: StudyConfig,
        arms: Mapping[str, ArmLedger],
        slots: Callable[[int], int],
        recorded: Collection[str] = (),
    ) -> None:
        self._config, self._arms, self._slots, self._recorded = config, arms, slots, recorded
        self._ended = {name: _history(arm) for name, arm in arms.items()}
        self._processes = 0

    def started(self, run: TrialRun, running: Collection[RunningTrial]) -> RunningTrial:
        """A trial begins beside those that run."""
        inline = [trial for trial in running if trial.is_inline]
        first = run.execution.engine == "inline" and len(inline) == self._processes
        self._processes += first
        price = self._arms[run.arm].costs(run.number, 1)["cost"]
        return RunningTrial(run, price=1.0 if price is None else price, first=first)

    def ended(self, trial: RunningTrial) -> None:
        """It is in the ledger as ended."""
        arm = self._arms[trial.run.arm]
        row = next((row for row in map(_row, reversed(arm.ended())) if row and row["trial"] == trial.run.number), None)
        if row and row["state"] in _WELL:
            times = _times(row)
            self._ended[trial.run.arm].append(replace(times, overhead_s=None) if trial.first else times)

    def left_s(self, running: Collection[RunningTrial]) -> float | None:
        """Seconds until the study's budgets are used; None while nobody can know."""
        by_arm: dict[str, list[RunningTrial]] = {name: [] for name in self._arms}
        for trial in running:
            by_arm[trial.run.arm].append(trial)
        found = {name: self._of(name, by_arm[name]) for name in self._arms}
        teacher = found.pop(TEACHER, None)
        return seconds_left(list(found.values()), teacher if teacher and teacher.trials_left else None)

    def _of(self, name: str, running: Collection[RunningTrial]) -> ArmTimes:
        arm, taught = self._arms[name], name != TEACHER and self._config.needs_teacher(name)
        budget, prices, iterations = arm.spending.budget, arm.spending.prices, self._config.iterations_of(name)
        price = mean(prices.iteration.values()) if prices and prices.iteration else 1.0
        return ArmTimes(
            whole=iterations * price,
            cost_left=None if budget is None else budget - arm.spent,
            trials_left=max(0, arm.budget - arm.count(*SPENT_IN)),
            slots=self._slots(self._config.workers_of(name)),
            waits=taught,
            # between a trial with a live teacher and one without: the first of them records, the others read
            guess=(1 + prices.plain / price) / 2 if prices and name in self._recorded else 1.0,
            ended=self._ended[name],
            running=[_running(trial) for trial in running],
        )


_WELL = frozenset(state.name for state in SPENT_IN)


def _running(trial: RunningTrial) -> Running:
    note = trial.note
    return Running(
        cost=trial.price * (note.iteration if note else trial.iteration), seconds=note.seconds if note else 0.0
    )


def _history(arm: ArmLedger) -> list[Ended]:
    """The trials of an arm that have ended well, in the order of their ends."""
    rows = [row for row in map(_row, arm.ended()) if row and row["state"] in _WELL]
    return [_times(row) for row in sorted(rows, key=lambda row: str(row["ended"]))]


def _row(trial: Any) -> dict[str, Any] | None:
    text = trial.user_attrs.get(ROW)
    return None if text is None else dict(json.loads(text))


def _times(row: Mapping[str, Any]) -> Ended:
    """From what the trials table says of a trial."""
    started, ended = (datetime.fromisoformat(row[name]) for name in ("started", "ended"))
    cost = row.get("cost")
    return Ended(
        cost=row["iterations"] if cost is None else cost,
        seconds=row["seconds"],
        overhead_s=max(0.0, (ended - started).total_seconds() - row["seconds"]),
    )

"""What a person sees while a study runs: a live table on a terminal and in Jupyter, elsewhere lines.

In a file there is a line for every event, and one a minute on what runs; none has control characters.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from itertools import islice

from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from study.execution.display.pace import Pace
from study.execution.display.running import RunningTrial
from study.ledger.ledger import ArmLedger
from study.ledger.objectives import miou_of
from study.ledger.trial_run import TrialRun
from trainers.resources.heartbeat import beating

MAX_LINES = 20
"""Running trials that have a line of their own."""
MAX_NAMED = 4
"""Running trials that a line in a file has."""
LINE_EVERY_S = 60.0
"""Seconds between lines on what runs, in a file."""
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class View:
    """Progress of a study: arms with their trials, running trials, best so far, time left.

    Args:
        arms: the ledger of every arm.
        console: where to write; None for standard error, so that standard output stays for results.
    """

    def __init__(self, arms: Mapping[str, ArmLedger], console: Console | None = None) -> None:
        self._arms = arms
        self._pace: Pace | None = None
        self.console = console or Console(stderr=True)
        self._running: dict[tuple[str, int], RunningTrial] = {}
        self._began = time.monotonic()
        self._capacity_line = ""
        self._warned: set[str] = set()
        self._is_live = self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets") is not None)
        self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=1)
        self._shown = ExitStack()

    def __enter__(self) -> "View":
        self._began = time.monotonic()
        if self._is_live:
            self._shown.enter_context(self._live)
        else:
            self._shown.enter_context(beating(self._say_what_runs, every_s=LINE_EVERY_S))
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.close()

    def follow(self, pace: Pace) -> None:
        """Show the time left, as `pace` estimates it, from now on."""
        self._pace = pace

    def say(self, message: str) -> None:
        """A line that stays."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, messages: Iterable[str], of: str = "") -> None:
        """Lines that stay, each once however often it is given; the first time with whose it is."""
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                self.say(f"warning: {of and of + ': '}{message}")

    def started(self, run: TrialRun) -> None:
        self._running[run.arm, run.number] = (
            self._pace.started(run, self._trials()) if self._pace else RunningTrial(run)
        )
        self._event(f"{run.name}: started")

    def reported(self, run: TrialRun, iteration: int, miou: float) -> None:
        """A running trial was evaluated."""
        if trial := self._running.get((run.arm, run.number)):
            trial.iteration, trial.miou = iteration, miou

    def ended(self, arm: str, number: int, state: str, miou: float | None, error: str | None) -> None:
        """A trial has ended, and is in the ledger as that; one that failed before it started is first seen here."""
        trial = self._running.pop((arm, number), None)
        if trial and self._pace:
            self._pace.ended(trial)
        score = "" if miou is None else f", mIoU {miou:.2f}"
        if error:
            self.say(f"{arm} {number}: FAIL, {error}")
        else:
            iteration = trial.iteration if trial else 0
            self._event(f"{arm} {number}: {state} at iteration {iteration}{score} ({self._standing()})")

    def left(self, arm: str, number: int, iteration: int) -> None:
        """A trial was stopped to go on from an iteration under the next driver."""
        self._running.pop((arm, number), None)
        self._event(f"{arm} {number}: stopped at iteration {iteration}, to go on from there")

    def show_capacity(self, line: str) -> None:
        """The cluster can run more, or fewer, trials than before."""
        self._capacity_line = line
        self.say(line)

    def _event(self, line: str) -> None:
        if not self._is_live:
            self.say(line)

    def _trials(self) -> list[RunningTrial]:
        """What runs; a copy, because another thread shows it."""
        return list(self._running.values())

    def _say_what_runs(self) -> None:
        trials = self._trials()
        if not trials:
            return
        with suppress(OSError):  # of a disk or a store out of reach, which others name
            self.say(f"running: {'; '.join(_texts(trials, MAX_NAMED))} ({self._standing()})")

    def _used(self) -> float:
        """Share of all arms' budgets that trials which ended have used; of trials where those are the budget."""
        weight = sum(arm.weight for arm in self._arms.values())
        return sum(arm.used_share * arm.weight for arm in self._arms.values()) / weight if weight else 0.0

    def _standing(self) -> str:
        """Trials so far, what they used, and the time left."""
        ended = sum(arm.count(TrialState.COMPLETE, TrialState.PRUNED) for arm in self._arms.values())
        seconds = self._pace.left_s(self._trials()) if self._pace else None
        left = "" if seconds is None else f", about {duration_text(seconds)} left"
        return f"{ended} trial{'' if ended == 1 else 's'}, {100 * self._used():.0f} % of the budget{left}"

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        table.add_column("arm", overflow="ellipsis")  # which alone gets narrower where there is no space
        for column in (*(state.name for state in STATES), "running", "budget used", "best mIoU %"):
            table.add_column(column, justify="right", no_wrap=True)
        trials = self._trials()
        running = Counter(trial.run.arm for trial in trials)
        for name, arm in self._arms.items():
            counts = (str(arm.count(state)) for state in STATES)
            table.add_row(name, *counts, str(running[name]), _budget_used(arm), _best(arm))
        lines = [*_texts(trials, MAX_LINES), *([self._capacity_line] if self._capacity_line else [])]
        lines.append(f"{duration_text(time.monotonic() - self._began)}: {self._standing()}")
        return Group(table, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _texts(trials: Collection[RunningTrial], most: int) -> list[str]:
    """A text for each of so many trials, and how many more there are."""
    more = len(trials) - most
    return [*(trial.text() for trial in islice(trials, most)), *([f"and {more} more"] if more > 0 else [])]


def duration_text(seconds: float) -> str:
    """Minutes and seconds; hours and minutes from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _budget_used(arm: ArmLedger) -> str:
    """By cost in whole trials of the plain student, else in trials that ended well."""
    prices, budget = arm.spending.prices, arm.spending.budget
    if prices is None or budget is None:
        return f"{arm.count(TrialState.COMPLETE, TrialState.PRUNED)}/{arm.budget}"
    return f"{arm.spent / prices.whole_trial:.2f}/{budget / prices.whole_trial:.2f}"


def _best(arm: ArmLedger) -> str:
    """The best mIoU among the trials that used their whole budget and keep the search's bounds."""
    kept = filter(arm.valuation.keeps_bounds, arm.complete())
    values = [miou for trial in kept if (miou := miou_of(trial)) is not None]
    return f"{max(values):.2f}" if values else ""

"""What a person sees while a study runs: one live table on a terminal, one line per event elsewhere."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from study.ledger.ledger import ArmLedger

MAX_LINES = 20
"""Running trials that have a line of their own."""


@dataclass
class _Running:
    iteration: int = 0
    budget: int = 0
    miou: float | None = None
    since: float = field(default_factory=time.monotonic)


class View:
    """Progress of a study: arms with their trials, running trials, best so far, time left.

    Args:
        arms: the ledger of every arm.
        console: where to write; None for standard error, so that standard output stays for results.
    """

    def __init__(self, arms: Mapping[str, ArmLedger], console: Console | None = None) -> None:
        self._arms = arms
        self.console = console or Console(stderr=True)
        self._running: dict[tuple[str, int], _Running] = {}
        self._began, self._used_before = time.monotonic(), 0.0
        self._capacity_line = ""
        self._warned: set[str] = set()
        self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=1)

    def __enter__(self) -> "View":
        self._began, self._used_before = time.monotonic(), self._used()
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, message: str) -> None:
        """A line that stays."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, messages: Iterable[str], of: str = "") -> None:
        """Lines that stay, each once however often it is given; the first time with whose it is."""
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                self.say(f"warning: {of and of + ': '}{message}")

    def started(self, arm: str, number: int) -> None:
        self._running[arm, number] = _Running()
        self._event(f"{arm} {number}: started")

    def reported(self, arm: str, number: int, iteration: int, budget: int, miou: float) -> None:
        state = self._running.setdefault((arm, number), _Running())
        state.iteration, state.budget, state.miou = iteration, budget, miou

    def ended(self, arm: str, number: int, state: str, miou: float | None, error: str | None) -> None:
        run = self._running.pop((arm, number), _Running())
        score = "" if miou is None else f", mIoU {miou:.2f}"
        if error:
            self.say(f"{arm} {number}: FAIL, {error}")
        else:
            self._event(f"{arm} {number}: {state} at iteration {run.iteration}{score}{self._left()}")

    def left(self, arm: str, number: int, iteration: int) -> None:
        """A trial was stopped to go on from an iteration under the next driver."""
        self._running.pop((arm, number), None)
        self._event(f"{arm} {number}: stopped at iteration {iteration}, to go on from there")

    def show_capacity(self, line: str) -> None:
        """The cluster can run more, or fewer, trials than before."""
        self._capacity_line = line
        self.say(line)

    def _event(self, line: str) -> None:
        if not self.console.is_terminal:
            self.say(line)

    def _used(self) -> float:
        """Share of all arms' budgets that trials which ended have used; of trials where those are the budget."""
        if not self._arms:
            return 0.0
        return sum(arm.used_share * arm.weight for arm in self._arms.values()) / sum(
            arm.weight for arm in self._arms.values()
        )

    def _left(self) -> str:
        """Time left, from what was used since this driver started."""
        used = self._used()
        if used <= self._used_before:
            return ""
        left_s = (time.monotonic() - self._began) * (1 - used) / (used - self._used_before)
        minutes, seconds = divmod(round(left_s), 60)
        ended = sum(arm.count(TrialState.COMPLETE, TrialState.PRUNED) for arm in self._arms.values())
        return f" ({ended} trials, {100 * used:.0f} % of the budget, about {minutes}:{seconds:02d} left)"

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        for column in ("arm", "done", "spent", "stopped early", "failed", "running", "best mIoU %"):
            table.add_column(column, justify="left" if column == "arm" else "right")
        running = Counter(arm for arm, _ in self._running)
        for name, arm in self._arms.items():
            table.add_row(
                name,
                _done(arm),
                _spent(arm),
                str(arm.count(TrialState.PRUNED)),
                str(arm.count(TrialState.FAIL)),
                str(running[name]),
                _best(arm),
            )
        lines = [
            Text(
                f"{arm} {number}: iteration {run.iteration}/{run.budget or '?'}, "
                + (f"mIoU {run.miou:.2f}, " if run.miou is not None else "")
                + f"{time.monotonic() - run.since:.0f} s"
            )
            for (arm, number), run in islice(self._running.items(), MAX_LINES)
        ]
        if (more := len(self._running) - MAX_LINES) > 0:
            lines.append(Text(f"and {more} more"))
        seconds = f"{time.monotonic() - self._began:.0f} s{self._left()}"
        return Group(table, *lines, *([Text(self._capacity_line)] if self._capacity_line else []), Text(seconds))


def _done(arm: ArmLedger) -> str:
    """Trials that ended well, beside their number where that is the budget."""
    done = arm.count(TrialState.COMPLETE, TrialState.PRUNED)
    return f"{done}/{arm.budget}" if arm.spending.budget is None else str(done)


def _spent(arm: ArmLedger) -> str:
    """In whole trials of the plain student; empty in a study without prices."""
    prices, budget = arm.spending.prices, arm.spending.budget
    if prices is None:
        return ""
    spent = f"{arm.spent / prices.whole_trial:.2f}"
    return spent if budget is None else f"{spent}/{budget / prices.whole_trial:.2f}"


def _best(arm: ArmLedger) -> str:
    """The best objective among the trials that used their whole budget."""
    values = [trial.value for trial in arm.complete() if trial.value is not None]
    return f"{max(values):.2f}" if values else ""

"""What an arm has spent of its budget: sums over its trials, of iterations times the price that the ledger has of them.

A trial that failed counts for nothing, as it does not count among the trials of the budget: it is replaced. A running
trial counts up to its next evaluation, before which it cannot be stopped.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.configuration.config import TEACHER, StudyConfig
from study.configuration.prices import ArmPrices
from study.configuration.tuning import BudgetConfig
from trainers.config import plain

PRICES = "prices"
"""User attribute of an arm's Optuna study: its prices, in JSON."""
SPENT_IN = (TrialState.COMPLETE, TrialState.PRUNED)
ROUNDING = 1e-9
"""Share of a budget that sums of prices may be off."""


def read_prices(attributes: Mapping[str, Any]) -> ArmPrices | None:
    """The prices among the user attributes of an arm's Optuna study; None for a study that has none."""
    text = attributes.get(PRICES)
    return None if text is None else ArmPrices.read(json.loads(text))


def keep_prices(study: optuna.Study, prices: ArmPrices) -> None:
    """Write them to the ledger."""
    study.set_user_attr(PRICES, json.dumps(plain(prices)))


class Spent(NamedTuple):
    """What an arm has spent, for readers beside the driver.

    Attributes:
        whole_trials: in whole trials of the plain student.
        cost: the same in the study's unit.
        unit: "operations" or "seconds".
        budget: in whole trials; None where only its trials are counted.
    """

    whole_trials: float
    cost: float
    unit: str
    budget: float | None

    @classmethod
    def of(cls, trials: Iterable[FrozenTrial], prices: ArmPrices, budget: BudgetConfig | None) -> "Spent":
        """From all trials of an arm."""
        cost, whole = spent(trials, prices), prices.whole_trial
        return cls(cost / whole, cost, prices.unit, None if budget is None else prices.budget(budget) / whole)


def spent(trials: Iterable[FrozenTrial], prices: ArmPrices) -> float:
    """What the trials that ended well have cost."""
    return sum(_cost(trial, prices, trial.last_step or 0) for trial in trials if trial.state in SPENT_IN)


def _cost(trial: FrozenTrial, prices: ArmPrices, iterations: int) -> float:
    return iterations * prices.iteration.get(prices.key(trial.params), 0.0)


class Spending:
    """The account of one arm.

    Args:
        config: the study.
        arm: of it.
        study: the arm's Optuna study, which has its prices.
    """

    def __init__(self, config: StudyConfig, arm: str, study: optuna.Study) -> None:
        self._config, self._arm, self._study = config, arm, study
        self.prices = read_prices(study.user_attrs)
        budget = config.budget_of(arm)
        self.budget = self.prices.budget(budget) if budget and self.prices else None
        """What the arm may spend; None where only its trials are counted."""

    def price(self, values: Mapping[str, Any]) -> None:
        """Keep the price of a trial with these searched values, before it starts."""
        if self.prices is None:
            return
        priced = self.prices.with_price(self._config, self._arm, values)
        if priced is not self.prices:
            self.prices = priced
            keep_prices(self._study, priced)

    def cost(self, trial: FrozenTrial, iterations: int) -> float | None:
        """What so many iterations of a trial cost; None in a study without prices."""
        return None if self.prices is None else _cost(trial, self.prices, iterations)

    def spent(self, trials: Iterable[FrozenTrial]) -> float:
        """What trials that ended well have cost."""
        return spent(trials, self.prices) if self.prices else 0.0

    def to_next_evaluation(self, trial: FrozenTrial) -> float:
        """What a running trial will have cost at its next evaluation."""
        train = self._config.train
        fixed = {} if self._arm == TEACHER else self._config.arms[self._arm].fixed
        known = {"train/evaluate_every": train.evaluate_every, **fixed, **trial.params}
        done = trial.last_step or 0
        return self.cost(trial, min(self.whole(trial), done + int(known["train/evaluate_every"]))) or 0.0

    def whole(self, trial: FrozenTrial) -> int:
        """Iterations of a trial that is not stopped."""
        return int(trial.params.get("train/iterations", self._config.iterations_of(self._arm)))

    def uses_up(self, amount: float) -> bool:
        """Whether that much is the whole budget."""
        return self.budget is not None and amount >= self.budget * (1 - ROUNDING)

    def is_lowered(self, trials: Iterable[FrozenTrial]) -> bool:
        """Whether trials that ended well spent more than they could under this budget.

        A trial goes on, or starts, only while the budget is not used up, so all but the last evaluation's part of what
        was spent is always below it. Which trial's was the last is not kept; the dearest is taken for it.
        """
        ended = [trial for trial in trials if trial.state in SPENT_IN]
        last = max((self.cost(trial, _last_interval(trial)) or 0.0 for trial in ended), default=0.0)
        return self.uses_up(self.spent(ended) - last)


def _last_interval(trial: FrozenTrial) -> int:
    """Iterations between a trial's last two evaluations, or before its only one."""
    *_, before, last = 0, 0, *sorted(trial.intermediate_values)
    return last - before

"""What trials cost: a fact of their configuration, so that a budget outlives restarts, kills and crowded machines.

A trial costs its iterations times the price of one iteration of its arm, as if it ran alone with a live teacher. The
price depends on no value but those that shape it (a batch size, a stage of another loss), which are found by counting
operations at other values than the defaults. Prices are made once, when a study begins, and kept in its ledger;
whatever makes a run cheaper or dearer in truth, from recorded teacher outputs to lost work, does not change them. The
teacher's own training has a price of its own, which no arm pays.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from search_spaces.space import Categorical, Space
from study.configuration.config import TEACHER, StudyConfig
from study.configuration.tuning import BudgetConfig
from trainers.config import TeacherFile, TrialConfig, canonical_json, identity, parse

MeasureSteps = Callable[[Mapping[str, TrialConfig], object | None], dict[str, float]]
"""Seconds of a step of each of several trials, by name; the second argument is the teacher's network."""
PLAIN = "plain"
"""Stands for the plain student's trial among those of the arms; no arm of a file can have this name twice."""
MOST_AT_START = 32
"""Combinations of choices that are priced when a study begins; where there are more, each is when it is first drawn."""

_counts: dict[tuple[str, str | None], float] = {}


@dataclass(frozen=True, kw_only=True)
class ArmPrices:
    """Prices of one arm's trials.

    Attributes:
        unit: "operations", which are multiply-accumulates, or "seconds".
        scale: of this unit per operation, at the arm's defaults.
        shaping: searched paths whose values shape the price.
        iteration: price of one iteration, by those values as `key` writes them.
        plain: price of one iteration of the plain student: uniform weighting and no method.
        plain_iterations: of a whole trial of it.
    """

    unit: str
    scale: float
    shaping: tuple[str, ...]
    iteration: Mapping[str, float]
    plain: float
    plain_iterations: int

    def key(self, values: Mapping[str, Any]) -> str:
        """What `iteration` has a price by, at these searched values by path."""
        return json.dumps([values.get(path) for path in self.shaping])

    def with_price(self, config: StudyConfig, arm: str, values: Mapping[str, Any]) -> "ArmPrices":
        """These prices and that of an iteration at these values; the same where it is among them."""
        key = self.key(values)
        if key in self.iteration:
            return self
        operations = count_operations(priced_trial(config, arm, values), teacher_network(config))
        return replace(self, iteration={**self.iteration, key: self.scale * operations})

    def budget(self, budget: BudgetConfig) -> float:
        """A budget in this unit."""
        ((name, amount),) = budget.given.items()
        return amount * {"whole_trials": self.whole_trial, "iterations": self.plain, "seconds": 1.0}[name]

    @property
    def whole_trial(self) -> float:
        """What a whole trial of the plain student costs."""
        return self.plain * self.plain_iterations

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "ArmPrices":
        """From what `plain` made of one."""
        return cls(**{**values, "shaping": tuple(values["shaping"])})


def price_arms(config: StudyConfig, measure: MeasureSteps | None = None) -> dict[str, ArmPrices]:
    """Prices of every arm, at its defaults and at the choices that shape them; of the teacher where it can be trained.

    A further search of an arm has the prices of the first.

    Args:
        config: the study.
        measure: measures steps, for a study with `price: measured`; None for operations.
    """
    teacher = teacher_network(config)
    first = [name for name, arm in config.arms.items() if arm.search_of is None]
    names = [*first, *([TEACHER] if config.teacher.model is not None and config.teacher.train else [])]
    trials = {name: priced_trial(config, name, {}) for name in names} | {PLAIN: plain_trial(config)}
    operations = {name: count_operations(trial, teacher) for name, trial in trials.items()}
    prices = measure(trials, teacher) if measure else operations
    found = {}
    for name in names:
        shaping = shaping_parameters(config, name, teacher)
        priced = ArmPrices(
            unit="seconds" if measure else "operations",
            scale=prices[name] / operations[name],
            shaping=shaping,
            iteration={},
            plain=prices[PLAIN],
            plain_iterations=config.train.iterations,
        )
        for values in _combinations(config, name, shaping):
            priced = priced.with_price(config, name, values)
        found[name] = priced
    further = {name: arm.search_of for name, arm in config.arms.items() if arm.search_of is not None}
    return {**found, **{name: found[source] for name, source in further.items()}}


def shaping_parameters(config: StudyConfig, arm: str, teacher: object | None) -> tuple[str, ...]:
    """The searched paths of an arm whose values change how many operations an iteration has."""
    if arm == TEACHER or config.arms[arm].replicated:
        return ()
    space = config.space(arm)
    at_defaults = space.defaults()
    usual = count_operations(priced_trial(config, arm, at_defaults), teacher)

    def differs(changes: Mapping[str, Any]) -> bool:
        values = _active(space, {**at_defaults, **changes})
        return count_operations(priced_trial(config, arm, values), teacher) != usual

    numbers = {path: _other_end(space, path) for path in at_defaults if not _is_choice(space, path)}
    # a number hardly ever shapes the cost, so all are asked about together first
    shaping = [path for path, end in numbers.items() if differs({path: end})] if differs(numbers) else []
    choices = {path: space.values(path) for path in at_defaults if _is_choice(space, path)}
    shaping += [path for path, values in choices.items() if any(differs({path: value}) for value in values)]
    return tuple(sorted(shaping))


def _is_choice(space: Space, path: str) -> bool:
    return isinstance(space.parameters[path], Categorical)


def _other_end(space: Space, path: str) -> Any:
    """An end of a number's range that is not its default."""
    low, high = space.values(path)
    return high if space.parameters[path].default == low else low


def _active(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    active = space.active(values)
    return {path: value for path, value in values.items() if path in active}


def _combinations(config: StudyConfig, arm: str, shaping: tuple[str, ...]) -> Iterable[dict[str, Any]]:
    """Values at which an arm is priced from the start: the defaults, and all shaping choices if these are few."""
    if not shaping:
        return [{}]
    space = config.space(arm)
    defaults = space.defaults()
    choices = [space.values(path) if _is_choice(space, path) else (defaults[path],) for path in shaping]
    if math.prod(map(len, choices)) > MOST_AT_START:
        return [defaults]
    chosen = (dict(zip(shaping, values, strict=True)) for values in product(*choices))
    return [_active(space, {**defaults, **values}) for values in chosen]


def priced_trial(config: StudyConfig, arm: str, values: Mapping[str, Any]) -> TrialConfig:
    """A trial of an arm at searched values, the others at their defaults; its teacher's file need not be there."""
    if arm == TEACHER:
        return config.teacher_trial()
    if not values and not config.arms[arm].replicated:
        values = config.space(arm).defaults()
    return config.trial(arm, values, TeacherFile(path=TEACHER))


def plain_trial(config: StudyConfig) -> TrialConfig:
    """A whole trial of the student alone: uniform weighting, no method, no teacher."""
    alone = {"task": {"weighting": "uniform"}, "methods": {}, "teacher": None}
    return parse(TrialConfig, {**config.unsearched(next(iter(config.arms))), **alone})


def teacher_network(config: StudyConfig) -> object | None:
    """The configuration of the teacher's network, from the study or the teacher's file; None without a teacher."""
    if not config.any_needs_teacher or config.teacher.file is None:
        return config.teacher.model
    from trainers.teachers.teacher import read_card

    card = read_card(Path(config.teacher.file))
    model: object = card.model
    return model


def with_matched(config: StudyConfig) -> StudyConfig:
    """The study with the length of every matched arm fixed: as many iterations as a trial of the other arm costs.

    Its evaluations stay as many, so they move apart as it grows. By counted operations always, so that the number does
    not depend on the machine.
    """
    teacher = teacher_network(config)
    arms = dict(config.arms)
    for name, arm in config.arms.items():
        if arm.matched is None or "train/iterations" in arm.fixed:
            continue
        other = priced_trial(config, arm.matched, {})
        ratio = count_operations(other, teacher) / count_operations(priced_trial(config, name, {}), teacher)
        fixed = {
            "train/iterations": round(other.train.iterations * ratio),
            "train/evaluate_every": max(1, round(other.train.evaluate_every * ratio)),
        }
        arms[name] = replace(arm, fixed={**arm.fixed, **fixed})
    return replace(config, arms=arms)


def count_operations(trial: TrialConfig, teacher: object | None) -> float:
    """Multiply-accumulates of one step of a trial, counted once in this process for all trials with the same step."""
    from trainers.costs.step import step_operations  # imports the training loop

    network = teacher if trial.teacher is not None else None
    key = canonical_json(identity(replace(trial, data_seed=0, init_seed=0, teacher=None)))
    named = None if network is None else canonical_json(network)
    if (key, named) not in _counts:
        _counts[key, named] = step_operations(trial, network)
    return _counts[key, named]

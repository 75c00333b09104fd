"""What of a study may change once it has begun: its arms' trials, searches and budgets, and where they run.

Anything else decides what a trial measures. Its change is refused by the name of its field, whether it comes from the
command line or from an edited file, because trials from before and after it would not compare.
"""

from dataclasses import dataclass

from study.configuration.checks import examine
from study.configuration.config import TEACHER, StudyConfig
from study.configuration.identity import CHECKPOINTS, differences, on_gpus, refusal
from study.configuration.searches import named_arms, search_faults, with_searches
from study.configuration.settings import with_settings
from study.configuration.tuning import NO_CAP
from trainers.config import ConfigError, absolute, parse, plain
from trainers.registry import nearest


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What `kdstudy resume` is asked to do beyond going on.

    Attributes:
        sets: `path=value` settings.
        trials: the new budget.
        retry_failed: run failed trials again.
        arms: those that `trials` and `retry_failed` are for; none for all.
        accept_data: take a dataset that has changed for the study's from now on.
    """

    sets: tuple[str, ...] = ()
    trials: int | None = None
    retry_failed: bool = False
    arms: tuple[str, ...] = ()
    accept_data: bool = False

    def apply(self, config: StudyConfig) -> StudyConfig:
        """The study with these changes.

        Raises:
            ConfigError: with every field that has to stay, every unknown arm, and every fault that a change makes.
        """
        self._check(config)
        named = named_arms(config, self.arms) or config.arms
        budgets = [f"arms.{arm}.trials={self.trials}" for arm in named if self.trials is not None]
        changed = with_searches(absolute(parse(StudyConfig, with_settings(plain(config), [*self.sets, *budgets]))))
        fixed = [path for path in differences(plain(config), plain(changed)) if not _may_change(path, config, changed)]
        found = [refusal(path, config, changed) for path in fixed] + _lowered(config, changed)
        found = found or list(search_faults(changed))
        if not found and _checked(changed) != _checked(config):
            # what the study has begun with stays its own
            began = examine(config).faults
            found = [fault for fault in examine(changed).faults if fault not in began]
        if found:
            raise ConfigError(found)
        return changed

    def _check(self, config: StudyConfig) -> None:
        if self.arms and self.trials is None and not self.retry_failed:
            raise ConfigError(["--arm must say whose --trials or --retry-failed is meant, but got neither; add one"])
        known = (*config.arms, TEACHER)
        wrong = [
            f"--arm must be an arm of the study, but got {arm!r}; {nearest(arm, known)}"
            for arm in self.arms
            if arm not in config.arms and (arm != TEACHER or self.trials is not None)
        ]
        if wrong:
            raise ConfigError(wrong)


def _checked(config: StudyConfig) -> tuple[object, ...]:
    """What is looked at anew where it has changed; more trials alone can have no fault."""
    return config.execution, config.searches, config.teacher.record, config.train.probe_every, _costs(config)


def _lowered(config: StudyConfig, changed: StudyConfig) -> list[str]:
    """Budgets that shrink, by whichever option; of those by cost in another unit than before the ledger judges."""
    before, after = _costs(config), _costs(changed)
    costs = [
        f"{path}: must be at least {amount:g}, the budget that it is, but got {after[path]:g}; put it back, or raise it"
        for path, amount in before.items()
        if path in after and after[path] < amount
    ]
    lowered = [
        name for name, arm in config.arms.items() if name in changed.arms and changed.arms[name].trials < arm.trials
    ]
    return costs + [_too_few_trials(config, name, changed.arms[name].trials) for name in lowered]


def _too_few_trials(config: StudyConfig, arm: str, trials: int) -> str:
    before = config.arms[arm].trials
    if before != NO_CAP:
        return (
            f"arms.{arm}.trials: must be at least {before}, the budget that the arm has, but got {trials}; "
            "name the arms to raise: --arm ARM"
        )
    budget = config.budget_of(arm)
    assert budget is not None, "an arm without trials has a budget by cost"
    path = "budget" if budget == config.budget else f"arms.{arm}.budget"
    ((unit, amount),) = budget.given.items()
    return (
        f"arms.{arm}.trials: must be left out where cost limits an arm, but got {trials}; it may spend {amount:g} "
        f"{unit.replace('_', ' ')}, and more with --set {path}.{unit}={2 * amount:g}"
    )


def _costs(config: StudyConfig) -> dict[str, float]:
    """All budgets by cost that the study names, by path."""
    named = {"budget": config.budget, **{f"arms.{name}.budget": arm.budget for name, arm in config.arms.items()}}
    return {f"{path}.{unit}": amount for path, one in named.items() if one for unit, amount in one.given.items()}


def _may_change(path: str, one: StudyConfig, other: StudyConfig) -> bool:
    if path == "execution.gpus_per_worker":
        return on_gpus(one) == on_gpus(other)
    if path == CHECKPOINTS:
        return False
    if path == "train.probe_every":  # changes no number of a trial but its time and peak memory
        return "peak_memory_mib" not in one.search.measures
    # where a teacher is to be kept that may have had no place before, and what changes no number
    if path == "teacher.folder" or path.startswith("teacher.record"):
        return True
    if path == "searches":
        return one.searches < other.searches
    first, *below = path.split(".")
    if first == "arms" and len(below) == 1:  # one of the two has no such arm
        return below[0] not in one.arms and other.arms[below[0]].search_of in one.arms
    return first in ("execution", "budget") or (first == "arms" and below[1:2] in (["trials"], ["budget"]))

"""What of a study may change once it has begun: how many trials its arms have, and where they run.

Anything else decides what a trial measures. Its change is refused by the name of its field, whether it comes from the
command line or from an edited file, because trials from before and after it would not compare.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from study.checks import faults
from study.config import TEACHER, StudyConfig
from study.loading import with_settings
from trainers.addresses import shown
from trainers.config import ConfigError, canonical_json, identity, leaf, parse, plain
from trainers.registry import nearest

CHECKPOINTS = "execution.checkpoints"
INCOMPARABLE = "new trials could not be compared with the old ones"
REASONS = {
    "name": "its trials are kept under this name",
    "storage": "its trials are kept there",
    CHECKPOINTS: "its trials' checkpoints lie there",
    "execution": "trials on GPUs and on CPUs do not give the same numbers",
}
"""Why a field stays, where the reason is not that trials would not compare."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What `kdstudy resume` is asked to do beyond going on.

    Attributes:
        sets: `path=value` settings.
        trials: the new budget.
        retry_failed: run failed trials again.
        arms: those that `trials` and `retry_failed` are for; none for all.
    """

    sets: tuple[str, ...] = ()
    trials: int | None = None
    retry_failed: bool = False
    arms: tuple[str, ...] = ()

    def apply(self, config: StudyConfig) -> StudyConfig:
        """The study with these changes.

        Raises:
            ConfigError: with every field that has to stay, every unknown arm, and every fault that a change makes.
        """
        self._check(config)
        budgets = [f"arms.{arm}.trials={self.trials}" for arm in self.arms or config.arms if self.trials is not None]
        changed = parse(StudyConfig, with_settings(plain(config), [*self.sets, *budgets]))
        fixed = [path for path in differences(plain(config), plain(changed)) if not _may_change(path, config, changed)]
        found = [_refusal(path, config, changed) for path in fixed]
        if not found and changed.execution != config.execution:
            found = list(dict.fromkeys(faults(changed)))
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
        wrong += [
            f"--trials must be at least the budget that an arm has, but got {self.trials} and {name} has {arm.trials}; "
            "name the arms to raise: --arm ARM"
            for name, arm in config.arms.items()
            if self.trials is not None and name in (self.arms or config.arms) and self.trials < arm.trials
        ]
        if wrong:
            raise ConfigError(wrong)


def _may_change(path: str, one: StudyConfig, other: StudyConfig) -> bool:
    if path == "execution.gpus_per_worker":
        return _on_gpus(one) == _on_gpus(other)
    if path == CHECKPOINTS:
        return False
    first, *below = path.split(".")
    return first == "execution" or (first == "arms" and below[1:] == ["trials"])


def _on_gpus(config: StudyConfig) -> bool:
    return config.execution.gpus_per_worker > 0


def _refusal(path: str, one: StudyConfig, other: StudyConfig) -> str:
    values = [_value(plain(config), path) for config in (one, other)]
    if path == CHECKPOINTS:
        values = [value and shown(value) for value in values]
    reason = REASONS.get(path) or REASONS.get(path.partition(".")[0], INCOMPARABLE)
    return (
        f"{path}: must stay {values[0]!r} while a study lasts, but got {values[1]!r}: {reason}; put it back, or start "
        "another study"
    )


def _value(values: Mapping[str, Any], path: str) -> Any:
    try:
        return leaf(values, path, separator=".")
    except KeyError:
        return None


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The paths at which two nested values differ, with dots; of what only one of them has, the topmost."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [] if one == other else [path]
    below = f"{path}." if path else ""
    return [found for key in sorted({*one, *other}) for found in differences(one.get(key), other.get(key), below + key)]


def record(config: StudyConfig, arm: str) -> str:
    """What the ledger keeps of the configuration with an arm, for `refuse_another` to hold later ones against."""
    arms = {arm: config.arms[arm]} if arm in config.arms else config.arms
    # a storage's URL may hold a password
    return canonical_json(replace(config, arms=arms, storage="journal"))


def refuse_another(recorded: str, config: StudyConfig, arm: str) -> None:
    """Hold a configuration against that of the trials which the ledger has of this arm.

    Raises:
        ConfigError: with every field that makes them incomparable.
    """
    began = parse(StudyConfig, json.loads(recorded))
    found = differences(_basis(began, arm), _basis(config, arm))
    if found:
        raise ConfigError([_refusal(path, began, config) for path in found])


def _basis(config: StudyConfig, arm: str) -> dict[str, Any]:
    """All that the numbers of an arm's trials depend on, in the study's own paths."""
    values = identity(config)
    kept = {name: values[name] for name in ("data", "augment", "seed", "evaluate_on", "holdout")}
    # whether batch normalisation is synchronised, and the bits of every sum
    kept["execution"] = {"gpus_per_worker": _on_gpus(config)}
    if arm == TEACHER:
        return {**kept, "teacher": values["teacher"]}
    shared = ("student", "train", "objective", "startup_trials", "pruning")
    chosen = {name: value for name, value in values["arms"][arm].items() if name != "trials"}
    spaces = {name: space for name, space in config.spaces.items() if name in config.arms[arm].space}
    return {**kept, **{name: values[name] for name in shared}, "arms": {arm: chosen}, "spaces": spaces}

"""What of a configuration the trials of a study compare by, and the refusal of another."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.configuration.config import TEACHER, StudyConfig
from study.configuration.tuning import with_former_rules
from trainers.addresses import redacted
from trainers.config import ConfigError, canonical_json, identity, leaf, parse, plain

CHECKPOINTS = "execution.checkpoints"
INCOMPARABLE = "new trials could not be compared with the old ones"
REASONS = {
    "name": "its trials are kept under this name",
    "storage": "its trials are kept there",
    CHECKPOINTS: "its trials' checkpoints lie there",
    "groups": "the groups of its images are written down as it begins",
    "equivalence_points": "it says something only where it was fixed before the results were seen",
    "planned_seeds": "a plan says something only where it was made before the results were seen",
    "searches": "the searches that it has stay",
    "execution": "trials on GPUs and on CPUs do not give the same numbers",
}
"""Why a field stays, where the reason is not that trials would not compare."""


def on_gpus(config: StudyConfig) -> bool:
    """Whether the workers of its trials have GPUs."""
    return config.execution.gpus_per_worker > 0


def refusal(path: str, one: StudyConfig, other: StudyConfig) -> str:
    """Why the field at a path, with dots, must stay as `one` has it, and what to do about `other`."""
    values = [_value(plain(config), path) for config in (one, other)]
    if path == CHECKPOINTS:
        values = [value and redacted(value) for value in values]
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
    began = parse(StudyConfig, with_former_rules(json.loads(recorded)))
    found = differences(_basis(began, arm), _basis(config, arm))
    if found:
        raise ConfigError([refusal(path, began, config) for path in found])


def _basis(config: StudyConfig, arm: str) -> dict[str, Any]:
    """All that the numbers of an arm's trials depend on, in the study's own paths."""
    values = identity(config)
    kept = {name: values[name] for name in ("data", "augment", "seed", "evaluate_on", "holdout")}
    kept["plugins"] = values.get("plugins", {})
    # whether batch normalisation is synchronised, and the bits of every sum
    kept["execution"] = {"gpus_per_worker": on_gpus(config)}
    if arm == TEACHER:
        return {**kept, "teacher": values["teacher"]}
    shared = ("student", "train", "objective", "startup_trials", "search", "pruning", "price", "tuning_rules")
    chosen = {name: value for name, value in values["arms"][arm].items() if name not in ("trials", "budget")}
    spaces = {name: space for name, space in config.spaces.items() if name in config.arms[arm].space}
    return {**kept, **{name: values[name] for name in shared}, "arms": {arm: chosen}, "spaces": spaces}

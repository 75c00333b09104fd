"""`path=value` settings: what a person types on top of a file, placed where it is meant, or refused.

Paths have dots, values are YAML. What an arm fixes or searches stands above what all arms share, so a setting of that
would change nothing for the arm; which settings these are is known here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from yaml import YAMLError

from search_spaces.space import Space
from search_spaces.strict_yaml import parse_yaml
from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import StudyConfig
from trainers.config import ConfigError, replaced
from trainers.registry import nearest

OF_ALL = ("data", "augment", "student", "train", "evaluate_on", "holdout")
"""Parts of a study that its arms' trials have under the same names."""
OF_ARM = ("task", "methods")


def with_settings(values: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Nested `values` with settings on top.

    Raises:
        ConfigError: with every setting that cannot be placed.
    """
    if faults := list(settings_faults(values, sets)):
        raise ConfigError(faults)
    return with_readable_settings(values, sets)


def with_readable_settings(values: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Nested `values` with those settings on top that can be placed."""
    placed = values
    for setting in sets:
        path, _, text = setting.partition("=")
        if not list(settings_faults(values, [setting])):
            placed = replaced(placed, path, parse_yaml(text).value, separator=".")
    return placed


def settings_faults(values: Mapping[str, Any], sets: Sequence[str]) -> Iterator[str]:
    """Why settings cannot be placed in nested `values`, a line each."""
    for setting in sets:
        path, equals, text = setting.partition("=")
        if not equals:
            yield f"--set must be path=value, but got {setting!r}; for example --set seed=1"
            continue
        yield from _path_faults(values, setting, path)
        yield from _value_faults(setting, path, text)


def _path_faults(values: Mapping[str, Any], setting: str, path: str) -> Iterator[str]:
    first, *below = path.split(".")
    if "/" in first:
        yield f"--set must have a path with dots, but got {setting!r}; write --set {setting.replace('/', '.')}"
    arms = values.get("arms")
    if first == "arms" and len(below) > 1 and isinstance(arms, Mapping) and below[0] not in arms:
        yield f"--set must name an arm of the study, but got {setting!r}; {nearest(below[0], map(str, arms))}"


def _value_faults(setting: str, path: str, text: str) -> Iterator[str]:
    try:
        yield from (f"--set {path}: {line}" for line in parse_yaml(text).repeated)
    except YAMLError:
        yield f"--set must be path=value with a YAML value, but got {setting!r}; quote it"


class Covered(NamedTuple):
    """A setting that some arms fix or search themselves.

    Attributes:
        setting: as it was typed.
        path: of a trial, with slashes.
        arms: that fix or search it.
        reached: arms that do not.
    """

    setting: str
    path: str
    value: Any
    arms: list[str]
    reached: list[str]


def covered_settings(config: StudyConfig, sets: Sequence[str]) -> Iterator[Covered]:
    """The settings that some of a study's arms fix or search themselves."""
    for dotted, value in _typed(sets):
        path, arms = _in_trials(config, dotted)
        covering = [arm for arm in arms if path in config.arms[arm].fixed or path in _searched(config, arm)]
        if covering:
            reached = [arm for arm in arms if arm not in covering]
            yield Covered(f"--set {dotted}={value}", path, value, covering, reached)


def _searched(config: StudyConfig, arm: str) -> Collection[str]:
    return Space.readable(*config.arms[arm].space, kept=config.spaces)[0].parameters


def _typed(sets: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Every value that settings set, with its path; none of those that cannot be placed."""
    for setting in sets:
        path, equals, text = setting.partition("=")
        if equals and not list(_value_faults(setting, path, text)):
            yield from _leaves(path, parse_yaml(text).value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _leaves(f"{path}.{key}", inside)
    else:
        yield path, value


def _in_trials(config: StudyConfig, dotted: str) -> tuple[str, list[str]]:
    """The path, with slashes, that a setting has in trials, and whose trials these are; of other settings, nobody's."""
    first, *below = dotted.split(".")
    if first in OF_ALL:
        return "/".join((first, *below)), list(config.arms)
    if first == "arms" and len(below) > 1 and below[1] in OF_ARM:
        return "/".join(below[1:]), [below[0]]
    return dotted, []


def check_reach(config: StudyConfig, sets: Sequence[str]) -> Iterator[Finding]:
    """Every setting reaches the trials that it is meant for, or some of them."""
    for setting, path, _, arms, reached in covered_settings(config, sets):
        law = f"{setting} does not reach {', '.join(arms)}, which fix or search {path} themselves"
        if reached:
            yield warning(f"{law}; only {', '.join(reached)} will have it")
        else:
            yield fault(f"{law}; leave it out, or set arms.{arms[0]}.fixed, or what the space says")


def uncovered(config: StudyConfig, arm: str, sets: Sequence[str]) -> tuple[StudyConfig, list[Covered]]:
    """The study with an arm that no longer fixes what was typed, and the settings that it fixed or searched itself."""
    covered = [setting for setting in covered_settings(config, sets) if arm in setting.arms]
    paths = {setting.path for setting in covered}
    chosen = config.arms[arm]
    fixed = {path: value for path, value in chosen.fixed.items() if path not in paths}
    return replace(config, arms={**config.arms, arm: replace(chosen, fixed=fixed)}), covered

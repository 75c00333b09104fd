"""What an arm fixes, searches and enqueues, held against what its trials have."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from search_spaces.space import Int, Space, SpaceError, Value
from study.configuration.checks.findings import Finding, fault
from study.configuration.config import TEACHER, ArmConfig, StudyConfig
from trainers.config import ConfigError, TrialConfig, parse, replaced
from trainers.registry import implementations, nearest

BATCH = "train/batch"
GRID = 64
"""Batches of a range that are all looked at; of a longer range, both ends."""


class Reading(NamedTuple):
    """What of an arm can be read.

    Attributes:
        fixed: the values that fit, by path.
        space: the parameters whose defaults fit.
        whole: whether the space has all parameters that its files name.
        findings: what is wrong with the rest.
    """

    fixed: Mapping[str, Any]
    space: Space
    whole: bool
    findings: tuple[Finding, ...]


def read_arm(config: StudyConfig, name: str) -> Reading:
    """Hold every path that an arm fixes or searches against its trials, one by one."""
    arm, where = config.arms[name], f"arms.{name}"
    unsearched = config.unsearched(name)
    leaves = sorted(leaf_paths(unsearched))
    fixed_faults = {path: _fixed_faults(arm, unsearched, leaves, path) for path in arm.fixed}
    space, faults = Space.readable(*arm.space, kept=config.spaces)
    searched = {path: _value_faults(unsearched, path, values) for path, values in _examined(space, leaves).items()}
    whole = not faults
    faults += _unknown_paths(config, arm, [path for path in space.parameters if path not in leaves], leaves)
    faults += [line for lines in searched.values() for line in lines]
    sound = [path for path in searched if not searched[path] and path not in arm.fixed]
    findings = [fault(line).at(f"{where}.fixed") for lines in fixed_faults.values() for line in lines]
    return Reading(
        fixed={path: value for path, value in arm.fixed.items() if not fixed_faults[path]},
        space=space.only(sound),
        whole=whole,
        findings=(*findings, *(fault(line).at(f"{where}.space") for line in faults)),
    )


def leaf_paths(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The paths of all values that are no mappings, with slashes."""
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from leaf_paths(value, f"{path}/")
        else:
            yield path


def examined_values(space: Space, path: str) -> tuple[Value, ...]:
    """All choices of a categorical parameter, both ends of a range; of a range of batches, what lies between too."""
    parameter = space.parameters[path]
    if path == BATCH and isinstance(parameter, Int):
        grid = range(parameter.low, parameter.high + 1, parameter.step or 1)
        return tuple(grid) if len(grid) <= GRID else parameter.values()
    return parameter.values()


def _examined(space: Space, leaves: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    return {path: examined_values(space, path) for path in space.parameters if path in leaves}


def _value_faults(unsearched: Mapping[str, Any], path: str, values: Iterable[Any]) -> list[str]:
    """What is wrong with these values at a path of a trial."""
    faults: list[str] = []
    for value in values:
        try:
            parse(TrialConfig, replaced(unsearched, path, value))
        except ConfigError as error:
            faults += error.faults
    return faults


def _fixed_faults(arm: ArmConfig, unsearched: Mapping[str, Any], leaves: list[str], path: str) -> list[str]:
    if path not in leaves:
        return [f"{path} is nothing that this arm's trials have; {_remedy(arm, path, leaves)}"]
    return _value_faults(unsearched, path, [arm.fixed[path]])


def _unknown_paths(config: StudyConfig, arm: ArmConfig, paths: list[str], leaves: list[str]) -> Iterator[str]:
    """Of the searched paths that the arm's trials lack: what each space needs, else what each path may have meant."""
    by_space: dict[str, list[str]] = {}
    for name in arm.space:
        own = Space.readable(name, kept=config.spaces)[0].parameters
        by_space[name] = [path for path in paths if path in own]
    for name, unknown in by_space.items():
        if needed := unknown and _needed(arm, unknown, name):
            yield f"space {name} needs {needed}, but the arm has none; add that to the arm, or leave the space out"
        else:
            yield from (
                f"{path} is nothing that this arm's trials have; {_remedy(arm, path, leaves)}" for path in unknown
            )


def _remedy(arm: ArmConfig, path: str, leaves: list[str]) -> str:
    slashed = path.replace(".", "/")
    if slashed in leaves:
        return f"its parts are joined by slashes: {slashed}"
    needed = _needed(arm, [path])
    return f"it needs {needed}" if needed else nearest(path, leaves)


def _needed(arm: ArmConfig, paths: list[str], space: str = "") -> str | None:
    """The method or weighting that has all these paths and that the arm lacks, as its file would say it."""
    parts = [path.split("/") for path in paths]
    if any(len(part) < 2 for part in parts) or len({part[0] for part in parts}) > 1:
        return None
    if parts[0][0] == "methods":
        return _needed_method(arm, {part[1] for part in parts})
    return _needed_weighting(arm, {part[1] for part in parts}, space) if parts[0][0] == "task" else None


def _needed_method(arm: ArmConfig, names: set[str]) -> str | None:
    (first, *others) = sorted(names)
    known = not others and first in implementations("trainers.methods") and first not in arm.methods
    return f"methods: {{{first}: {{}}}}" if known else None


def _needed_weighting(arm: ArmConfig, fields: set[str], space: str) -> str | None:
    """The weighting of the space's own name, else the only one with these fields."""
    having = [
        name
        for name, module in implementations("trainers.difficulty").items()
        if fields <= {f.name for f in dataclasses.fields(module.Config)} and name != arm.task.weighting
    ]
    found = space if space in having else having[0] if len(having) == 1 else None
    return found and f"task: {{weighting: {found}}}"


def check_names(config: StudyConfig) -> Iterable[Finding]:
    """No arm has the teacher's name."""
    if TEACHER in config.arms:
        yield fault(f"arms.{TEACHER}: this name is the teacher's own; call the arm something else")


def check_searched_twice(config: StudyConfig, name: str) -> Iterable[Finding]:
    """No path is both fixed and searched."""
    arm = config.arms[name]
    space = Space.readable(*arm.space, kept=config.spaces)[0]
    for path in arm.fixed:
        if path in space.parameters:
            yield fault(f"arms.{name}.fixed: {path} is searched too; leave it out here, or in the arm's space")


def check_replicates(config: StudyConfig, name: str) -> Iterable[Finding]:
    """An arm without a space has one setting, and its replicates are told apart by their seeds."""
    arm = config.arms[name]
    if not arm.replicated:
        return
    if arm.enqueue:
        yield fault(f"arms.{name}.enqueue: is for arms that search, but this one has no space; add one, or use fixed")
    for path in ("data_seed", "init_seed"):
        if path in arm.fixed:
            yield fault(
                f"arms.{name}.fixed: {path} is what tells replicates apart; leave it out, or change the study's seed"
            )


def check_enqueued(config: StudyConfig, name: str, reading: Reading) -> Iterable[Finding]:
    """What is enqueued is of the arm's space."""
    arm = config.arms[name]
    for position, values in enumerate(arm.enqueue if arm.space and reading.whole else ()):
        try:
            Space.load(*arm.space, kept=config.spaces).check(values)
        except SpaceError as error:
            yield from (fault(line).at(f"arms.{name}.enqueue.{position}") for line in error.faults)


def check_budget(config: StudyConfig, name: str) -> Iterable[Finding]:
    """Everything that is enqueued has its trial, after that of the spaces' defaults."""
    arm = config.arms[name]
    first = len(arm.enqueue) + 1
    if arm.space and arm.enqueue and first > arm.trials:
        yield fault(
            f"arms.{name}.enqueue: must leave a trial to each setting and one to the spaces' defaults, but got "
            f"{len(arm.enqueue)} settings and trials={arm.trials}; raise trials to {first}, or enqueue fewer"
        )

"""As much of a faulty configuration as can be read, so that its other faults are found in the same go.

What cannot be read is taken out, or where it is required, a value stands in its place that can be read. Both are
remembered by their paths: what rests on them says nothing about the study that was meant.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.configuration.config import StudyConfig
from trainers.config import ConfigError, parse
from trainers.data.classes import classes_of

TRIES = 6
"""Readings at most: what is taken out may have been required."""
_SCHEDULE = {"iterations": 1, "batch": 2, "evaluate_every": 1}
STAND_INS: Mapping[str, Any] = {
    "name": "unnamed",
    "data": {"name": "streets"},
    "augment": {"crop": [64, 64]},
    "student": {"architecture": "deeplabv3"},
    "train": _SCHEDULE,
    "arms": {"*": {"trials": 1}},
    "teacher": {"train": _SCHEDULE},
}
"""Of what is required; `*` is any name."""


class PartialReading(NamedTuple):
    """What was read.

    Attributes:
        config: the study, None where not enough of it can be read.
        broken: the paths, with dots, at which it is not what was asked for.
        faults: why, one line each.
    """

    config: StudyConfig | None
    broken: tuple[str, ...]
    faults: tuple[str, ...]


def read_partially(values: Mapping[str, Any]) -> PartialReading:
    """Read plain values, as from YAML, into a study; what cannot be read is left out."""
    broken: list[str] = []
    faults: list[str] = []
    for _ in range(TRIES):
        try:
            return PartialReading(_with_classes(parse(StudyConfig, values)), tuple(broken), tuple(faults))
        except ConfigError as error:
            faults += [fault for fault in error.faults if not _caused(fault, broken)]
            for fault in error.faults:
                values, path = _without(values, _path(fault), broken)
                broken += [path, *_meant(fault)]
    return PartialReading(None, tuple(broken), tuple(faults))


def _with_classes(config: StudyConfig) -> StudyConfig:
    """A study whose classes are known.

    Raises:
        ConfigError: a file that names them cannot be read, or its data contradicts itself.
    """
    try:
        classes_of(config.data)
    except ValueError as error:
        raise ConfigError([f"data: {error}"]) from None
    return config


def _path(fault: str) -> list[str]:
    return fault.partition(": ")[0].split(".")


def _caused(fault: str, broken: Sequence[str]) -> bool:
    """Whether what was taken out made this fault."""
    return any(f"{path}.".startswith(f"{'.'.join(_path(fault))}.") for path in broken)


def _meant(fault: str) -> list[str]:
    """The path of the key that an unknown one was probably meant to be."""
    match = re.search(r": no such key; did you mean '(.+)'\?$", fault)
    return [".".join([*_path(fault)[:-1], match[1]])] if match else []


def _without(values: Mapping[str, Any], path: Sequence[str], broken: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """The values with what stands at a path replaced or taken out, or what is nearest above it; and that path."""
    for length in range(len(path), 0, -1):
        at, name = path[:length], ".".join(path[:length])
        stand_in = _stand_in(at)
        if stand_in is not None and name not in broken:
            return _put(values, at, stand_in), name
        if _holds(values, at):
            return _put(values, at, None), name
    return values, ".".join(path)


def _stand_in(path: Sequence[str]) -> Any:
    here: Any = STAND_INS
    for part in path:
        here = here.get(part, here.get("*")) if isinstance(here, Mapping) else None
    return {"arm": here["*"]} if isinstance(here, Mapping) and "*" in here else here


def _holds(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _put(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The values with another at a path; without what stands there where that is None."""
    first, *below = path
    if below:
        inside = values.get(first)
        return {**values, first: _put(inside if isinstance(inside, Mapping) else {}, below, value)}
    others = {key: other for key, other in values.items() if key != first}
    return others if value is None else {**others, first: value}

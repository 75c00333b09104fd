"""What kdstudy wrote as JSON, read back: held against a type, because files are edited, cut short and mixed up.

The types hold what is read of a file, and leave anything else in it as it is. Parts of a study, its networks, methods
and weightings, stay plain values, so nothing of them is imported.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Values = Mapping[str, Any]


class _Open(TypedDict):
    """What may have more keys than its type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]


class SavedData(_Open):
    """The dataset of a study."""

    name: str


class SavedArm(_Open):
    """An arm of a study."""

    task: NotRequired[Values]
    methods: NotRequired[Values]
    fixed: NotRequired[Values]
    space: NotRequired[Sequence[str]]
    search_of: NotRequired[str | None]


class SavedReplicated(_Open):
    """What an arm of a study of replicates trains again."""

    arm: str
    search_of: NotRequired[str | None]


class SavedStudy(_Open):
    """`study.json`."""

    name: str
    data: SavedData
    arms: NotRequired[Mapping[str, SavedArm]]
    evaluate_on: NotRequired[str]
    objective: NotRequired[Literal["last", "best"]]
    compares: NotRequired[Sequence[str]]
    spaces: NotRequired[Mapping[str, Values]]
    startup_trials: NotRequired[int]
    searches: NotRequired[int]
    tuning_rules: NotRequired[int]
    search: NotRequired[Values]
    pruning: NotRequired[Values]
    budget: NotRequired[Values | None]
    train: NotRequired[Values]
    equivalence_points: NotRequired[float]
    planned_seeds: NotRequired[int | None]
    replicates: NotRequired[Mapping[str, SavedReplicated]]


class TeacherNote(_Open):
    """`teacher.json`: the teacher's file, and what it scored."""

    path: str
    miou_percent: float | None
    sha256: NotRequired[str]
    trained_by: NotRequired[str | None]


class SavedClass(_Open):
    """One of the classes in `classes.json`, with its colour."""

    name: str
    rgb: tuple[int, int, int]


T = TypeVar("T")


def read_saved(path: Path, kind: type[T], *, remedy: str = "restore it") -> T:
    """The JSON text of a file, as plain values that fit a type.

    Args:
        path: of the file.
        kind: a TypedDict or another type that pydantic reads.
        remedy: what to do where the file is not what was written.

    Raises:
        ValueError: it is no JSON, or of another kind; names the key.
        OSError: it cannot be read.
    """
    try:
        return TypeAdapter(kind).validate_python(_plain(path))
    except ValidationError as wrong:
        fault = wrong.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        found = "" if fault["type"] == "missing" else f", but got {_short(fault['input'])}"
        said = f"{where + ': ' if where else ''}{fault['msg'][0].lower()}{fault['msg'][1:]}{found}"
    except ValueError as wrong:  # no JSON, or no text
        said = str(wrong)
    raise ValueError(f"{path} must be what kdstudy wrote there, but: {said}; {remedy}")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file, its keys as they are; raises what `read_saved` does."""
    return read_saved(path, dict[str, Any])


def _plain(path: Path) -> Any:
    return json.loads(path.read_text())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Searched parameters as the trials table has them: which there are, on what kind of scale, and how they are called."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from analysis.studies.study import PARAMETER
from study.tables import parameters_of

Kind = Literal["category", "linear", "log"]

FEW_VALUES = 6
"""A number that takes no more different values than this, each several times, was chosen from a list."""
LOG_RATIO = 20.0
"""A positive number that spans more than this factor is shown on a logarithmic axis."""


def searched(trials: pa.Table) -> list[str]:
    """Paths of the parameters that are active in any of the trials, in the table's order."""
    columns = [name for name in trials.column_names if name.startswith(PARAMETER)]
    return [name.removeprefix(PARAMETER) for name in columns if trials[name].null_count < trials.num_rows]


def values(trials: pa.Table, path: str) -> list[Any]:
    """The parameter in every trial; None where it is not active."""
    return list(trials[PARAMETER + path].to_pylist())


def varies(found: Sequence[Any]) -> bool:
    """Whether a parameter took more than one value."""
    return len({value for value in found if value is not None}) > 1


def kind(found: Sequence[Any]) -> Kind:
    """The scale of a parameter, judged by its values: tables do not hold search spaces."""
    active = [value for value in found if value is not None]
    different = set(active)
    if any(isinstance(value, str | bool) for value in different):
        return "category"
    if len(different) <= FEW_VALUES and len(active) >= 2 * len(different):
        return "category"
    low, high = min(active), max(active)
    return "log" if low > 0 and high / low > LOG_RATIO else "linear"


def label(path: str) -> str:
    """A path without its first part, which says only in which part of a trial it lies."""
    return path.partition("/")[2] or path


def written(value: Any) -> str:
    """A value in at most three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def settings(row: dict[str, Any]) -> str:
    """All active parameters of a row of the trials table in one line."""
    return ", ".join(f"{label(path)} {written(value)}" for path, value in parameters_of(row).items())


def assignments(parameters: Mapping[str, Any]) -> str:
    """`task/threshold=0.872 task/combine=and`."""
    return " ".join(f"{path}={written(value)}" for path, value in parameters.items())

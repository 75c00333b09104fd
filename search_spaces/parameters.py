"""What may be searched: a real number, a whole number, one of some choices.

Each kind checks itself when made, from YAML or in code, so that no trial starts with a space Optuna
would refuse or silently bend.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import optuna
from annotated_types import Gt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import (
    ConfigDict,
    Discriminator,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from trainers.registry import clash as clash
from trainers.registry import installed as installed
from trainers.registry import nearest as nearest
from trainers.registry import owner as owner

Value = str | int | float | bool


class SpaceError(ValueError):
    """All faults of a space, or of values for it, one `path: what is wrong` a line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


def _plain(value: Any) -> Value:
    if isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise ValueError("must be a string, a finite number, true or false")


Choice = Annotated[Value, PlainValidator(_plain)]
Choices = tuple[Choice, ...]


def _on_grid(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-8  # Optuna's own tolerance


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high], both included.

    Attributes:
        default: enqueued as the first trial's value.
        log: sampled evenly in the logarithm.
        step: where given, only low + k * step.
        when: the parameter exists only where each of these others has one of these values.
    """

    type: Literal["float"] = "float"
    low: float
    high: float
    default: float
    log: bool = False
    step: Annotated[float, Gt(0)] | None = None
    when: Mapping[str, Choices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_range(self)

    def values(self) -> tuple[float, float]:
        """low and high."""
        return self.low, self.high

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: optuna.Trial, path: str) -> float:
        """The trial's value, asked for under the name `path`."""
        return trial.suggest_float(path, self.low, self.high, log=self.log, step=self.step)

    def read(self, value: Any) -> float:
        """`value` as this parameter's; a ValueError where it cannot be."""
        return _in_range(self, value)


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number in [low, high], both included; the attributes are those of `Float`."""

    type: Literal["int"] = "int"
    low: int
    high: int
    default: int
    log: bool = False
    step: Annotated[int, Gt(0)] | None = None
    when: Mapping[str, Choices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_range(self)

    def values(self) -> tuple[int, int]:
        """low and high."""
        return self.low, self.high

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)

    def suggest(self, trial: optuna.Trial, path: str) -> int:
        """The trial's value, asked for under the name `path`."""
        return trial.suggest_int(path, self.low, self.high, log=self.log, step=self.step or 1)

    def read(self, value: Any) -> int:
        """`value` as this parameter's; a ValueError where it cannot be."""
        number = _in_range(self, value)
        if number != int(number):
            raise ValueError(f"must be a whole number, but got {value!r}")
        return int(number)


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """One of `choices`: strings, numbers or booleans; `default` and `when` as in `Float`."""

    type: Literal["categorical"] = "categorical"
    choices: Choices
    default: Choice
    when: Mapping[str, Choices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("choices must have at least one value, but got none")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(f"choices must differ, but got {list(self.choices)}; 1, 1.0 and true are equal")
        _check_default(self)

    def values(self) -> tuple[Value, ...]:
        """All choices, in their order."""
        return self.choices

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        return CategoricalDistribution(self.choices)

    def suggest(self, trial: optuna.Trial, path: str) -> Value:
        """The trial's value, asked for under the name `path`."""
        return self.read(trial.suggest_categorical(path, self.choices))

    def read(self, value: Any) -> Value:
        """The choice equal to `value`; a ValueError where there is none."""
        for choice in self.choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        raise ValueError(f"must be one of {list(self.choices)}, but got {value!r}")


Parameter = Float | Int | Categorical


def _check_range(range_: Float | Int) -> None:
    low, high, step = range_.low, range_.high, range_.step
    if not low < high:
        raise ValueError(f"low must be less than high, but got low={low}, high={high}")
    if range_.log and low <= 0:
        raise ValueError(f"low must be above 0 on a log scale, but got {low}; or leave out log")
    if range_.log and step is not None:
        raise ValueError(f"a log scale has no step, but got step={step}; leave out one of the two")
    if step is not None and not _on_grid(high, low, step):
        raise ValueError(f"high must be low plus a multiple of step, but got {low}, {high}, {step}")
    _check_default(range_)


def _check_default(parameter: Parameter) -> None:
    try:
        parameter.read(parameter.default)
    except ValueError as fault:
        raise ValueError(f"default {fault}") from None


def _in_range(range_: Float | Int, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"must be a number, but got {value!r}")
    low, high, step = range_.low, range_.high, range_.step
    if not low <= number <= high:
        raise ValueError(f"must be in [{low}, {high}], but got {value!r}")
    if step is not None and not _on_grid(number, low, step):
        raise ValueError(f"must be {low} plus a multiple of {step}, but got {value!r}")
    return number


_KINDS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}
_ADAPTER: TypeAdapter[Parameter] = TypeAdapter(
    Annotated[Parameter, Discriminator("type")],
    config=ConfigDict(extra="forbid", allow_inf_nan=False),
)


def read_parameter(path: Any, entry: Any) -> Parameter:
    """One entry of a space's file.

    Raises:
        SpaceError: with every fault of the entry and its path.
    """
    if not isinstance(path, str) or not all(path.split("/")):
        raise SpaceError([f"{path}: must be names joined by slashes, such as task/threshold"])
    if not isinstance(entry, dict):
        raise SpaceError([f"{path}: must be a mapping with a type, but got {entry!r}"])
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = nearest(str(kind), _KINDS)
        raise SpaceError([f"{path}.type: must be float, int or categorical, but got {kind!r}; {hint}"])
    try:
        return _ADAPTER.validate_python(entry)
    except ValidationError as error:
        raise SpaceError([_line(path, _KINDS[kind], fault) for fault in error.errors()]) from None


def _line(path: str, kind: type[Parameter], fault: Any) -> str:
    """`path.key: what is wrong, but got value`, of one fault as pydantic tells it."""
    keys = [str(part) for part in fault["loc"][1:]]  # the first is the type
    where = ".".join([path, *keys])
    if fault["type"] == "unexpected_keyword_argument":
        return f"{where}: no such key; {nearest(keys[-1], (f.name for f in fields(kind)))}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: is required"
    what = fault["msg"].removeprefix("Value error, ")
    if not keys:
        return f"{where}: {what}"
    return f"{where}: {what[0].lower()}{what[1:]}, but got {fault['input']!r}"

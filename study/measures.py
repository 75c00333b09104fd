"""What a trial is measured by, its mIoU and what its student takes, and bounds on these.

Names are columns of the trials table, but `miou`, which is the column that the study's objective names. Imports nothing
of ours: configurations, ledgers and whoever reads tables speak of the same measures.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

Objective = Literal["miou", "parameters", "multiply_accumulates", "latency_ms", "peak_memory_mib"]
MIOU: Objective = "miou"
OF_STUDENT: tuple[Objective, ...] = ("parameters", "multiply_accumulates", "latency_ms")
"""Known of a student before it is trained; all else is measured in a trial."""
COSTS: tuple[Objective, ...] = (*OF_STUDENT, "peak_memory_mib")
"""What is to be low."""
AXES: Mapping[str, str] = {
    MIOU: "mIoU (%)",
    "parameters": "parameters of the student",
    "multiply_accumulates": "multiply-accumulates of the student, one image",
    "latency_ms": "latency of the student, one image (ms)",
    "peak_memory_mib": "peak memory of the training, one worker (MiB)",
}
"""Titles of axes, with units."""

_BOUND = re.compile(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*")


def column(name: str, objective: str) -> str:
    """The column of the trials table that holds a measure.

    Args:
        name: of the measure.
        objective: "last" or "best", whose mIoU the study is judged by.
    """
    return f"{objective}_miou_percent" if name == MIOU else name


class Constraint(NamedTuple):
    """A bound that the trials of a search should keep.

    Attributes:
        measure: what is bounded.
        at_most: whether the bound is from above.
        bound: in the measure's unit.
    """

    measure: str
    at_most: bool
    bound: float

    @classmethod
    def read(cls, text: object) -> "Constraint":
        """From text such as `latency_ms <= 5`.

        Raises:
            ValueError: it is none.
        """
        found = _BOUND.fullmatch(text) if isinstance(text, str) else None
        bound = _number(found[3]) if found else None
        if found is None or bound is None or found[1] not in get_args(Objective):
            measures = ", ".join(get_args(Objective))
            raise ValueError(f"must be one of {measures}, then <= or >=, then a number, as in 'latency_ms <= 5'")
        return cls(found[1], found[2] == "<=", bound)

    def __str__(self) -> str:
        bound = int(self.bound) if self.bound.is_integer() else self.bound
        return f"{self.measure} {'<=' if self.at_most else '>='} {bound}"

    def excess(self, value: float) -> float:
        """By how much a value breaks it, in the measure's unit; 0 or below where it is kept."""
        return value - self.bound if self.at_most else self.bound - value

    def keeps(self, row: Mapping[str, Any], objective: str) -> bool:
        """Whether a row of the trials table keeps it; one without the value does not."""
        value = row.get(column(self.measure, objective))
        return value is not None and math.isfinite(value) and self.excess(value) <= 0


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

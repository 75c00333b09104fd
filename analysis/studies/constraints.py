"""Which trials keep the bounds that a study's search had."""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from study.measures import Constraint, column


def constraints_of(config: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """The bounds in a study's configuration, which is given as plain values."""
    return tuple(map(Constraint.read, config.get("search", {}).get("constraints", ())))


def feasible(config: Mapping[str, Any]) -> pc.Expression:
    """What holds for rows of the trials table that keep all bounds of a study; not for those that lack a value."""
    judged_by = "best" if config.get("objective") == "best" else "last"
    kept = pc.scalar(True)
    for bound in constraints_of(config):
        value = pc.field(column(bound.measure, judged_by))
        kept = kept & (value <= bound.bound if bound.at_most else value >= bound.bound)
    return kept

"""How often a trial leaves a checkpoint between two evaluations: after so many iterations, or so much time."""

import re
from dataclasses import dataclass

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
"""Seconds of each unit."""

_DURATION = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(UNITS)})")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One of the two; neither for no checkpoint between evaluations.

    Attributes:
        iterations: steps.
        seconds: of wall-clock time since the last checkpoint.
    """

    iterations: int | None = None
    seconds: float | None = None

    @classmethod
    def read(cls, value: int | str | None) -> "Interval":
        """An interval as a configuration has it: 500, "90 s", "10 min", "1.5 h", or None.

        Raises:
            ValueError: it is none.
        """
        if value is None:
            return cls()
        if type(value) is int and value > 0:
            return cls(iterations=value)
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
        if not seconds:
            raise ValueError(
                "must be iterations or a time above 0, such as 500 or '10 min', or null for checkpoints at evaluations "
                "alone"
            )
        return cls(seconds=seconds)

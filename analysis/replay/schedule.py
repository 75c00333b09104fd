"""A schedule of early stopping, as a study's `pruning` says it or as someone asks for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args
from zlib import crc32

Kind = Literal["halving", "hyperband", "median", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When trials are judged, and by what.

    Attributes:
        kind: as `pruning.kind` of a study.
        reduction_factor: one in so many trials goes on from each rung.
        grace: iterations of the first rung; None for that which the study had.
        keep_every: every so many-th trial runs to its end; None for none.
    """

    kind: Kind = "halving"
    reduction_factor: int = 3
    grace: int | None = None
    keep_every: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Schedule":
        """That of a study, by its plain values."""
        pruning: Mapping[str, Any] = config.get("pruning", {})
        factor = int(pruning.get("reduction_factor", 3))
        kind: Kind = pruning.get("kind", "halving") if factor else "none"
        return cls(kind=kind, reduction_factor=factor or 3, keep_every=pruning.get("keep_every"))

    def keeps(self, number: int) -> bool:
        """Whether the trial of this number runs to its end whatever early stopping says."""
        return self.keep_every is not None and number % self.keep_every == 0

    @property
    def keeping_none(self) -> "Schedule":
        """The same, which lets no trial run through."""
        return replace(self, keep_every=None)

    def __str__(self) -> str:
        if self.kind == "none":
            return "none"
        factor = "" if self.kind == "median" else f" by {self.reduction_factor}"
        grace = "" if self.grace is None else f" from iteration {self.grace}"
        kept = "" if self.keep_every is None else f", 1 trial in {self.keep_every} kept"
        return f"{self.kind}{factor}{grace}{kept}"


def bracket(number: int, *, study_name: str, grace: int, iterations: int, factor: int) -> int:
    """The bracket of Hyperband that a trial is in, as Optuna's `HyperbandPruner` assigns it.

    Li et al. 2018 (Algorithm 1) for the number of brackets; Optuna draws the bracket by a checksum of the trial's name.

    Args:
        number: of the trial.
        study_name: of its Optuna study.
        grace: iterations of the first rung of the first bracket.
        iterations: of a whole trial.
        factor: one in so many goes on.
    """
    brackets = math.floor(math.log(max(grace, iterations) / grace, factor)) + 1
    shares = [math.ceil(brackets * factor ** (brackets - 1 - n) / (brackets - n)) for n in range(brackets)]
    place = crc32(f"{study_name}_{number}".encode()) % sum(shares)
    return next(n for n in range(brackets) if place < sum(shares[: n + 1]))

"""How the arms of a study are tuned: by which sampler, with what early stopping, at what cost.

All of it is the study's, the same for every arm, because a difference between two methods means nothing where one of
them was tuned better. What is here are values alone; who acts on them stands in `study.ledger`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from study.measures import MIOU, Constraint, Objective
from trainers.config import LATER

FORMER: Literal[1] = 1
EQUAL: Literal[2] = 2
"""Rules of tuning. FORMER: those of studies that began before costs were priced; each arm has a first rung of its own,
draws its first settings by itself and is served by its share of trials. EQUAL: as this module says."""

NO_CAP = 10_000
"""Trials of an arm that only its budget by cost limits."""


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What each arm of a study, or one arm, may spend; exactly one of the three.

    Attributes:
        whole_trials: so many whole trials of the plain student, at its price.
        iterations: so many iterations of the plain student, at its price.
        seconds: of training as if each trial ran alone; needs `price: measured`.
    """

    whole_trials: Annotated[float, Gt(0)] | None = None
    iterations: Annotated[int, Ge(1)] | None = None
    seconds: Annotated[float, Gt(0)] | None = None

    @property
    def given(self) -> dict[str, float]:
        """What is set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _checked_constraint(value: Any) -> Any:
    try:
        return str(Constraint.read(value))
    except ValueError as error:
        raise PydanticCustomError("constraint", "{law}", {"law": str(error)}) from None


ConstraintText = Annotated[str, PlainValidator(_checked_constraint, json_schema_input_type=str)]
"""A constraint as `Constraint.read` takes it."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Which of Optuna's samplers draws the settings after the startup trials, and what for.

    Attributes:
        sampler: `tpe`, multivariate, in the groups of parameters that exist together; `gp`, a Gaussian process; `qmc`,
            a scrambled Sobol sequence; `random`; `grid`, every combination once; `nsga2`, the genetic algorithm
            NSGA-II.
        points: of each real or wide whole-numbered parameter in the grid, evenly spaced, or evenly in the logarithm.
        objectives: what is searched: `miou`, which is first and to be high, and what is to be low beside it:
            `parameters`, `multiply_accumulates`, `latency_ms`, `peak_memory_mib`.
        constraints: bounds on any of these that the sampler honours, such as `latency_ms <= 5`.
        population: trials of a generation of `nsga2`.
    """

    sampler: Literal["tpe", "random", "gp", "qmc", "grid", "nsga2"] = "tpe"
    points: Annotated[int, Ge(2)] = 5
    objectives: Annotated[tuple[Objective, ...], MinLen(1)] = field(default=(MIOU,), metadata=LATER)
    constraints: tuple[ConstraintText, ...] = field(default=(), metadata=LATER)
    population: Annotated[int, Ge(2)] = field(default=20, metadata=LATER)

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints, read."""
        return tuple(map(Constraint.read, self.constraints))

    @property
    def measures(self) -> frozenset[str]:
        """What the search needs to know of a trial."""
        return frozenset(self.objectives).union(bound.measure for bound in self.bounds)


@dataclass(frozen=True, kw_only=True)
class PruningConfig:
    """Early stopping over iterations, by one of Optuna's pruners.

    Attributes:
        kind: `halving` is asynchronous successive halving; `hyperband` runs several of it side by side, whose first
            rungs are ever later; `median` stops what is worse than the median of the others at the same iteration.
        reduction_factor: one in so many trials goes on from each rung; 0 switches early stopping off.
        grace_iterations: the first rung at the earliest; raised to the earliest at which every trial that the study can
            draw may be judged, as its weighting declares.
        keep_every: every so many-th trial of an arm, the first one among them, runs to its end whatever early stopping
            says, so that there are whole curves of trials that nobody chose; none where it is left out. It competes as
            if it had been stopped, and costs what it trains.
    """

    kind: Literal["halving", "hyperband", "median", "none"] = "halving"
    reduction_factor: Literal[0, 2, 3, 4, 5] = 3
    grace_iterations: Annotated[int, Ge(0)] = 0
    keep_every: Annotated[int, Ge(2)] | None = field(default=None, metadata=LATER)

    @property
    def on(self) -> bool:
        return self.kind != "none" and self.reduction_factor > 0

    def keeps(self, number: int) -> bool:
        """Whether the trial of this number runs to its end whatever early stopping says."""
        return self.keep_every is not None and number % self.keep_every == 0


def with_former_rules(values: Mapping[str, Any]) -> dict[str, Any]:
    """A study's plain values as a study's folder or a ledger holds them; one without rules began under FORMER ones."""
    if "tuning_rules" in values:
        return dict(values)
    pruning = values.get("pruning", {})
    if isinstance(pruning, Mapping):  # what it is not, its type will refuse
        pruning = {"kind": "halving", **pruning}
    return {**values, "tuning_rules": FORMER, "pruning": pruning}

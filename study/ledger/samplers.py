"""Optuna's samplers as a ledger needs them: made anew for each trial, and the same draw for the same trial.

A sampler is seeded by the study's seed, the arm and the trial's number, and keeps nothing between trials. So a driver
that takes over a study draws what the former one would have drawn. Where one of Optuna's samplers would keep something
elsewhere, or read all trials to learn what the search space already says, the class here says it instead.
"""

import hashlib
import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Space
from study.configuration.config import StudyConfig
from study.configuration.tuning import EQUAL
from study.ledger.optuna_internals import NumberedSobol, SpaceTPE

WHOLE_GRID = 20
"""Whole numbers of a range that all stand in a grid; of a wider one, as many as of a real number."""


def sampler(config: StudyConfig, arm: str, number: int, space: Space | None) -> BaseSampler:
    """The sampler of one trial of an arm.

    Args:
        config: the study.
        arm: of it.
        number: of the trial.
        space: what the arm searches.
    """
    seed = seed_of(config, arm, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if config.tuning_rules < EQUAL or space is None:
            return TPESampler(**_tpe_options(seed, config.startup_trials))
        return _chosen(config, arm, number, space, seed)


def _chosen(config: StudyConfig, arm: str, number: int, space: Space, seed: int) -> BaseSampler:
    match config.search.sampler:
        case "random":
            return RandomSampler(seed=seed)
        case "gp":
            return GPSampler(
                seed=seed,
                independent_sampler=RandomSampler(seed=seed),
                n_startup_trials=config.startup_trials,
                warn_independent_sampling=False,
            )
        case "qmc":
            numbers = {path: one for path, one in space.distributions().items() if _is_number(one)}
            sobol = seed_of(config, arm, "sobol")
            return NumberedSobol(number, numbers, seed=sobol, independent=RandomSampler(seed=seed))
        case "grid":
            # by its seed Optuna orders the grid, which has one order in all trials
            return UnstoppingGrid(grid(space, config.search.points), seed=seed_of(config, arm, "grid"))
        case "nsga2":
            return NSGAIISampler(population_size=config.search.population, seed=seed)
        case _:
            return SpaceTPE(groups(space), **_tpe_options(seed, config.startup_trials))


def seed_of(config: StudyConfig, arm: str, what: object) -> int:
    """A seed by the study's, the arm's name and something else."""
    key = f"{config.seed}/{arm}/{what}"
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "little")


def _tpe_options(seed: int, startup_trials: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "multivariate": True,
        "group": True,  # conditional parameters are modelled, not drawn independently
        "constant_liar": True,
        "n_startup_trials": startup_trials,
    }


def groups(space: Space) -> list[dict[str, BaseDistribution]]:
    """The parameters of a space that exist together: those of the same conditions, in the space's order."""
    found: dict[frozenset[tuple[str, tuple[Any, ...]]], dict[str, BaseDistribution]] = {}
    conditions: dict[str, frozenset[tuple[str, tuple[Any, ...]]]] = {}
    for path, parameter in space.parameters.items():  # those that a condition names come first
        own = frozenset((other, tuple(allowed)) for other, allowed in parameter.when.items())
        conditions[path] = own.union(*(conditions[other] for other in parameter.when))
        found.setdefault(conditions[path], {})[path] = parameter.distribution()
    return list(found.values())


def _is_number(distribution: BaseDistribution) -> bool:
    return not isinstance(distribution, CategoricalDistribution) and not distribution.single()


class UnstoppingGrid(GridSampler):
    """Optuna's, without its call to end an `optimize` that is not there; the arm's budget ends with its grid."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing to do."""


def grid(space: Space, points: int) -> dict[str, list[Any]]:
    """The values of each parameter in a grid.

    Args:
        space: without conditions.
        points: of a real number, and of a whole one with a wide range.
    """
    return {path: _grid_values(one, points) for path, one in space.distributions().items()}


def grid_size(space: Space, points: int) -> int:
    """Combinations in the grid of a space."""
    return math.prod(len(values) for values in grid(space, points).values())


def _grid_values(distribution: BaseDistribution, points: int) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if step is not None and not distribution.log and (high - low) / step < WHOLE_GRID:
        return [low + step * place for place in range(round((high - low) / step) + 1)]
    shares = [place / (points - 1) for place in range(points)]
    if distribution.log:
        values = [low * (high / low) ** share for share in shares]
    else:
        values = [low + (high - low) * share for share in shares]
    values[0], values[-1] = low, high  # without rounding
    if step is not None and not distribution.log:
        values = [low + step * round((value - low) / step) for value in values]
    return sorted({round(value) for value in values}) if whole else values


def startup_settings(config: StudyConfig, arm: str) -> list[dict[str, Any]]:
    """Values of what all arms search that an arm tries after its defaults: points of a Sobol sequence.

    The same ones in all arms, so that no arm is luckier at its start; others in further searches of the arms. An arm's
    own parameters are drawn by its sampler.
    """
    common = config.common_parameters()
    count = config.startup_trials - 1
    if not common or not count or config.tuning_rules < EQUAL or config.search.sampler == "grid":
        return []
    distributions = {path: parameter.distribution() for path, parameter in common.items()}
    source = config.arms[arm].search_of
    search = arm.removeprefix(source) if source else ""
    seed = seed_of(config, "startup", search)
    numbers = {path: one for path, one in distributions.items() if _is_number(one)}
    study, settings = optuna.create_study(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        for number in range(count):
            choices = RandomSampler(seed=seed_of(config, f"startup{search}", number))
            study.sampler = NumberedSobol(number, numbers, seed=seed, independent=choices)
            settings.append(study.ask(distributions).params)
    return settings

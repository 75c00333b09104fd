"""What a study's configuration says of its arms' work: what budgets pay for, what may be stopped, what is repeated."""

from collections.abc import Mapping
from itertools import product
from statistics import mean

from search_spaces.space import Categorical, Space
from study.configuration.config import TEACHER, StudyConfig, prunable
from study.configuration.prices import ArmPrices
from study.configuration.recordings.plan import StudyRecordings
from study.execution.planning.forecast import ArmWork, Halving


def paid_iterations(config: StudyConfig, arm: str, prices: ArmPrices | None) -> float | None:
    """Iterations that an arm's budget by cost pays for; searched values that shape the price count as drawn evenly."""
    budget = None if arm == TEACHER else config.budget_of(arm)
    if budget is None or prices is None:
        return None
    return prices.budget(budget) / mean(prices.iteration.values())


def halving(config: StudyConfig, arm: str) -> Halving | None:
    """The early stopping of an arm that searches; None where there is none, or it is of another kind."""
    pruning = config.pruning
    if not pruning.on or pruning.kind != "halving":
        return None
    return Halving(grace=config.grace(arm), factor=pruning.reduction_factor, keep_every=pruning.keep_every)


def unstopped_share(config: StudyConfig, arm: str) -> float:
    """Share of the trials of an arm that searches which early stopping may never end, its choices drawn evenly."""
    space = config.space(arm)
    paths = _deciding(config, arm, space)
    combinations = product(*(space.values(path) for path in paths))
    settings = [space.defaults(dict(zip(paths, values, strict=True))) for values in combinations]
    return mean(not prunable(config.trial(arm, setting, None)) for setting in settings)


def _deciding(config: StudyConfig, arm: str, space: Space) -> list[str]:
    """The choices which decide whether a trial may be stopped, each varied alone, and those on which these depend."""

    def differs(path: str) -> bool:
        settings = (space.setting({path: value}) for value in space.values(path))
        return len({prunable(config.trial(arm, setting, None)) for setting in settings}) > 1

    choices = [path for path, parameter in space.parameters.items() if isinstance(parameter, Categorical)]
    found = [path for path in choices if differs(path)]
    for path in found:  # which grows by what is appended
        found += [other for other in space.parameters[path].when if other not in found]
    return found


def searched_again(config: StudyConfig, works: Mapping[str, ArmWork]) -> dict[str, ArmWork]:
    """The further searches of arms."""
    sources = {name: arm.search_of for name, arm in config.arms.items() if arm.search_of in works}
    return {name: works[source] for name, source in sources.items() if source is not None}


def replicates(
    config: StudyConfig, works: Mapping[str, ArmWork], recordings: StudyRecordings, slots: int, seeds: int
) -> dict[str, ArmWork]:
    """The best setting of each search again; those with a teacher share what is recorded of it, seed by seed.

    Args:
        config: the study.
        works: of all its searches, and of its teacher.
        recordings: of the study.
        slots: trials that run at a time.
        seeds: of each setting.
    """
    taught = sum(config.needs_teacher(name) for name in works if name != TEACHER)
    live = min(slots, taught) / taught if recordings.bytes and taught else 1.0
    return {
        name: work.replicated(seeds, live if config.needs_teacher(name) else 1.0)
        for name, work in works.items()
        if name != TEACHER
    }

"""How the arms of a study are tuned: do their budgets end, are their objectives known, are common ranges the same?"""

from collections.abc import Iterable, Mapping

from search_spaces.space import Space
from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import StudyConfig
from study.configuration.objectives.students import STUDENT, THREADS, untimed_because
from study.configuration.tuning import NO_CAP, BudgetConfig
from study.measures import MIOU, OF_STUDENT
from trainers.registry import nearest


def check_budgets(config: StudyConfig) -> Iterable[Finding]:
    """Every arm ends, and a budget is in a unit that the study has."""
    budgets = {"budget": config.budget} | {f"arms.{name}.budget": arm.budget for name, arm in config.arms.items()}
    for where, budget in budgets.items():
        if budget is not None:
            yield from _check_budget(config, where, budget)
    for name, arm in config.arms.items():
        if arm.replicated and arm.budget is not None:
            yield fault(
                f"arms.{name}.budget: is for arms that search, but this one only repeats its setting; give trials"
            )
        if arm.trials == NO_CAP and config.budget_of(name) is None:
            yield fault(
                f"arms.{name}.trials: is required where the arm has no budget by cost; give trials, or a budget"
            )


def _check_budget(config: StudyConfig, where: str, budget: BudgetConfig) -> Iterable[Finding]:
    if len(budget.given) != 1:
        named = ", ".join(budget.given) or "nothing"
        yield fault(f"{where}: must name one of whole_trials, iterations, seconds, but got {named}; keep one")
    elif budget.seconds is not None and config.price != "measured":
        yield fault(
            f"{where}.seconds: needs price: measured, but got price: {config.price}; set it, or give whole_trials"
        )


HONOURING = ("tpe", "gp", "nsga2")
"""Samplers that learn from results, and so can honour a bound on them."""


def check_objectives(config: StudyConfig) -> Iterable[Finding]:
    """What is searched begins with mIoU, early stopping is off where it is not alone, and bounds are honoured."""
    objectives, sampler = config.search.objectives, config.search.sampler
    named = ", ".join(objectives)
    if objectives[0] != MIOU or len(set(objectives)) < len(objectives):
        yield fault(
            f"search.objectives: must begin with {MIOU}, by which arms compare, and name each once, but got {named}; "
            f"write [{', '.join(dict.fromkeys((MIOU, *objectives)))}]"
        )
    if len(objectives) > 1 and config.pruning.on:
        yield fault(
            f"pruning: must be off where several objectives are searched, but got {config.pruning.kind} with {named}: "
            "early stopping compares one value; set pruning: {kind: none}"
        )
    elif config.search.constraints and config.pruning.on:
        yield fault(
            f"pruning: must be off where bounds are searched, but got {config.pruning.kind} with "
            f"{', '.join(config.search.constraints)}: early stopping compares mIoU alone, with trials outside them "
            "too; set pruning: {kind: none}"
        )
    if config.search.constraints and sampler not in HONOURING:
        yield fault(
            f"search.constraints: are honoured by samplers that learn from results, {', '.join(HONOURING)}, but got "
            f"{sampler}; choose one of these, or leave them out"
        )


def check_timed(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterable[Finding]:
    """Where latency is searched, every student can be timed before the first trial; else nothing is there to search."""
    for name, space in spaces.items() if "latency_ms" in config.search.measures else ():
        if why := untimed_because(space):
            yield fault(
                f"arms.{name}.space: latency is measured before the first trial, so all students must be known then, "
                f"but {why}"
            )
    searched = {path for space in spaces.values() for path in space.parameters}
    if any(path.startswith(STUDENT) for path in searched):
        return
    changed = {"latency_ms"} if THREADS in searched else set()
    if same := [name for name in config.search.objectives if name in OF_STUDENT and name not in changed]:
        yield warning(
            f"search.objectives: {', '.join(same)} is the same in all trials of an arm, because no arm searches the "
            "student; search one of its keys, such as student/width, or leave it out"
        )


def check_memory(config: StudyConfig, *, distils: bool) -> Iterable[Finding]:
    """Where peak memory is searched, no trial reads the teacher's outputs that another one has recorded.

    Args:
        config: the study.
        distils: whether an arm does.
    """
    if "peak_memory_mib" in config.search.measures and distils and config.teacher.record.on:
        yield fault(
            "teacher.record: must be off where peak memory is searched, because a trial that reads recorded outputs "
            "holds no teacher, so that its memory is a matter of its turn; set teacher.record: off"
        )


def check_grid(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterable[Finding]:
    """A grid has no conditions."""
    for name, space in spaces.items() if config.search.sampler == "grid" else ():
        conditional = [path for path, one in space.parameters.items() if one.when]
        if conditional:
            yield fault(
                f"search.sampler: grid must have parameters that always exist, but arms.{name} searches "
                f"{', '.join(conditional)}, which have conditions; leave their `when` out, or choose another sampler"
            )


def check_matched(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterable[Finding]:
    """Only a plain arm is matched, and to another arm whose length is its own."""
    for name, arm in config.arms.items():
        if arm.matched is None:
            continue
        where, other = f"arms.{name}.matched", config.arms.get(arm.matched)
        if arm.methods or config.needs_teacher(name):
            yield fault(f"{where}: is for an arm without methods and teacher, but this one has some; leave it out")
        if other is None or arm.matched == name:
            yield fault(f"{where}: must be another arm, but got {arm.matched!r}; {nearest(arm.matched, config.arms)}")
        elif other.matched is not None:
            yield fault(
                f"{where}: must be an arm with the study's iterations, but {arm.matched} is matched too; name another"
            )
        if name in spaces and "train/iterations" in spaces[name].parameters:
            yield fault(f"{where}: sets train/iterations, but the arm searches it; leave one of them out")


def check_equal_tuning(config: StudyConfig) -> Iterable[Finding]:
    """All arms search the shared parameters in the same ranges."""
    for path, names in config.unequal_parameters().items():
        yield warning(
            f"arms are tuned equally where they search the same shared parameters, but {path} is searched by "
            f"{', '.join(names)} alone, or in other ranges; give every arm the same space of it"
        )

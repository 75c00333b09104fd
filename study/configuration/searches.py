"""`searches: N`: every arm that searches is searched N times, each time an arm of its own with other sampler seeds.

The sampler of an arm is seeded by the arm's name, so a further search tries other settings after the enqueued ones, and
how much the settings that the searches pick differ shows what luck a search has. Arms without a space have nothing to
search and stay one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from study.configuration.config import ArmConfig, StudyConfig
from study.configuration.outline import NAME_LENGTH


def search_name(arm: str, number: int) -> str:
    """The arm that is the `number`-th search of `arm`, from 2 on; the first one has the arm's own name."""
    return f"{arm}-search{number}"


def with_searches(config: StudyConfig) -> StudyConfig:
    """The study with an arm for each search; one that has them all is given back as it is."""
    arms: dict[str, ArmConfig] = {}
    for name, arm in config.arms.items():
        arms[name] = arm
        for further in _further(config, name):
            arms[further] = config.arms.get(further, replace(arm, search_of=name))
    return replace(config, arms=arms)


def named_arms(config: StudyConfig, names: Sequence[str]) -> tuple[str, ...]:
    """What `--arm` means: an arm's name stands for all of its searches, that of a further search for itself alone."""
    further = [name for name, arm in config.arms.items() if arm.search_of in names]
    return tuple(dict.fromkeys((*names, *further)))


def search_faults(config: StudyConfig) -> Iterable[str]:
    """What is wrong with the searches of a study, one line each."""
    if config.searches > 1 and all(arm.replicated for arm in config.arms.values()):
        yield (
            f"searches: is for arms with a space, but got {config.searches} and no arm has one; leave it out, and "
            "raise `trials` for more seeds"
        )
    sources = {further: name for name in config.arms for further in _further(config, name)}
    for name in config.arms:
        yield from _faults_of(config, name, sources.get(name))


def _faults_of(config: StudyConfig, name: str, source: str | None) -> Iterable[str]:
    """What is wrong with one arm, which is to be a further search of `source`, or a first one where that is None."""
    arm = config.arms[name]
    if source is None:
        if arm.search_of is not None:
            yield (
                f"arms.{name}.search_of: is filled in by `searches`, but got {arm.search_of!r}; leave it out, and set "
                "`searches` to how often each arm is to be searched"
            )
    elif len(name) > NAME_LENGTH:
        yield (
            f"arms.{source}: the name of a search has at most {NAME_LENGTH} characters, but {name} has {len(name)}; "
            "shorten the arm's"
        )
    elif _searched(arm) != replace(_searched(config.arms[source]), search_of=source):
        yield (
            f"arms.{name}: this is the name of a further search of {source}, but the arm is another; call it something "
            "else, or put it back as it was"
        )


def _searched(arm: ArmConfig) -> ArmConfig:
    """The arm without what its searches may differ in: how long they go on."""
    return replace(arm, trials=1, budget=None)


def _further(config: StudyConfig, name: str) -> list[str]:
    """The further searches that an arm has, by name."""
    arm = config.arms[name]
    if arm.replicated or arm.search_of is not None:
        return []
    return [search_name(name, number) for number in range(2, config.searches + 1)]

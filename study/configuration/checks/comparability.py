"""What must be the same in all arms, so that their scores compare: the images, the budget, the teacher.

An arm may change such a path only where the study says that this is what it compares (`compares`), and every ranking
says it then. What augments the images and how many stand in a batch may also be searched, where all arms search it
alike. The images that judge are never compared.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search_spaces.space import Space
from study.configuration.checks.arms import leaf_paths
from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import SCHEDULE, StudyConfig
from trainers.config import leaf
from trainers.registry import nearest

DECIDES = {
    "data": "the images",
    "evaluate_on": "the images",
    "holdout": "the images",
    "data_seed": "the images",
    "augment": "the images",
    "train/iterations": "the budget",
    "train/batch": "the budget",
}
"""What a path, or all below it, decides."""
TUNABLE = ("augment", "train/batch")
"""May be searched by all arms alike."""
JUDGES = ("data", "evaluate_on")
"""Decides which images judge a trial."""


def decides(path: str) -> str | None:
    """What a path of a trial decides that must be the same in all arms; None where it is an arm's own."""
    return next((what for prefix, what in DECIDES.items() if _below(path, prefix)), None)


def _below(path: str, *prefixes: str) -> bool:
    return any(f"{path}/".startswith(f"{prefix}/") for prefix in prefixes)


def check_comparable(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterable[Finding]:
    """No arm differs from the others in what makes them comparable, but in what the study compares."""
    for name in spaces:
        for path, value in config.arms[name].fixed.items():
            if not (_excepted(config, path) or _fixed_alike(config, spaces, path, value) or _own(config, name, path)):
                yield _refused(config, f"arms.{name}.fixed", path, f"{_shown(config, name, path)} and here {value!r}")
        for path in spaces[name].parameters:
            if not (_excepted(config, path) or _searched_alike(spaces, path)):
                yield _refused(config, f"arms.{name}.space", path, f"{_shown(config, name, path)} and is searched here")


def _own(config: StudyConfig, name: str, path: str) -> bool:
    """Whether a path tells replicates apart, of which another check speaks, or is the length of a matched arm."""
    arm = config.arms[name]
    return (path == "data_seed" and arm.replicated) or (path == "train/iterations" and arm.matched is not None)


def _excepted(config: StudyConfig, path: str) -> bool:
    # replicates hold beside each other what their study has let through
    let_through = bool(config.replicates) or _below(path, *config.compares)
    return decides(path) is None or (let_through and not _judges(config, path))


def _judges(config: StudyConfig, path: str) -> bool:
    return _below(path, *JUDGES) or (path == "holdout" and config.evaluate_on == "holdout")


def _fixed_alike(config: StudyConfig, spaces: Mapping[str, Space], path: str, value: Any) -> bool:
    """Whether it is the study's own value, or every arm's."""
    if _study_value(config, next(iter(config.arms)), path) == _plain(value):
        return True
    return _below(path, *TUNABLE) and all(
        path in config.arms[name].fixed and _plain(config.arms[name].fixed[path]) == _plain(value) for name in spaces
    )


def _searched_alike(spaces: Mapping[str, Space], path: str) -> bool:
    searched = [space.parameters.get(path) for space in spaces.values()]
    return _below(path, *TUNABLE) and all(parameter == searched[0] for parameter in searched)


def _study_value(config: StudyConfig, arm: str, path: str) -> Any:
    return leaf(config.unsearched(arm), path)


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _shown(config: StudyConfig, arm: str, path: str) -> str:
    return f"is {_study_value(config, arm, path)!r} in the study"


def _refused(config: StudyConfig, where: str, path: str, got: str) -> Finding:
    law = f"{path} decides {decides(path)} and must be the same in all arms"
    if _judges(config, path):
        return fault(f"{where}: {law}, but {got}; leave it out, or make it another study")
    alike = ", or have every arm search it alike" if _below(path, *TUNABLE) else ""
    return fault(
        f"{where}: {law}, but {got}; leave it out{alike}, or say that the study compares it: compares: [{path}]"
    )


def check_compares(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterable[Finding]:
    """What a study says that it compares can be compared, and differs."""
    known = sorted({SCHEDULE, *DECIDES, *_comparable_leaves(config)})
    for name in config.compares:
        if not any(_below(name, one) or _below(one, name) for one in DECIDES):
            yield fault(
                f"compares: must name what all arms have alike otherwise, but got {name!r}; {nearest(name, known)}"
            )
        elif _judges(config, name):
            yield fault(f"compares: scores on different images do not compare, but got {name!r}; make it two studies")
    if config.compares and not any(_below(path, *config.compares) for path in _own_paths(config, spaces)):
        named = ", ".join(config.compares)
        yield warning(f"compares: {named} is the same in all arms; leave it out, or fix or search it in one of them")


def _comparable_leaves(config: StudyConfig) -> Iterator[str]:
    shared = leaf_paths(config.unsearched(next(iter(config.arms))))
    return (path for path in shared if decides(path))


def _own_paths(config: StudyConfig, spaces: Mapping[str, Space]) -> Iterator[str]:
    for name, space in spaces.items():
        yield from config.arms[name].fixed
        yield from space.parameters

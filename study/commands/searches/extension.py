"""Replicates that were begun, with more of them: further settings, more seeds, and nothing that was there changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.configuration.config import StudyConfig
from study.configuration.identity import differences
from trainers.config import identity

OWN = ("arms", "replicates", "planned_seeds", "teacher", "execution", "spaces")
"""Fields that a study of replicates may have otherwise than another that is added to it, or that are compared apart."""


def extended(begun: StudyConfig, asked: StudyConfig, place: Path) -> StudyConfig:
    """`begun` with the settings that only `asked` has, and as many seeds of the others as either has.

    What `begun` has and `asked` has not, stays. So does the number of seeds that were planned: whoever adds seeds has
    seen the first ones.

    Args:
        begun: the study of replicates as it is.
        asked: what was asked for now.
        place: the folder of `begun`, to be named.

    Raises:
        ValueError: `asked` trains or judges something otherwise.
    """
    if found := sorted(_differing(begun, asked)):
        raise ValueError(
            f"replicates that were begun stay what they are, but those in {place} differ from what is asked for in "
            f"{', '.join(found)}; choose another --out, or go on with these: kdstudy resume {place} [--trials SEEDS]"
        )
    arms = {**asked.arms, **begun.arms}
    seeds = {name: max(study.arms[name].trials for study in (begun, asked) if name in study.arms) for name in arms}
    more = {name: replace(arm, trials=seeds[name]) for name, arm in arms.items()}
    if more == begun.arms:
        return begun
    return replace(
        begun,
        arms=more,
        replicates={**asked.replicates, **begun.replicates},
        teacher=begun.teacher if begun.any_needs_teacher else asked.teacher,
        planned_seeds=begun.planned_seeds or max(arm.trials for arm in begun.arms.values()),
    )


def additions(begun: StudyConfig, more: StudyConfig) -> Iterator[str]:
    """What an extension added, one line each."""
    for name, arm in more.arms.items():
        if name not in begun.arms:
            yield f"{name} is added, with {arm.trials} seeds"
        elif arm.trials > (before := begun.arms[name].trials):
            yield f"{name} has {arm.trials} seeds instead of {before}; {more.planned_seeds} were planned"


def _differing(begun: StudyConfig, asked: StudyConfig) -> Iterator[str]:
    """The paths at which they do not agree, of all that both have."""
    yield from differences(_shared(begun), _shared(asked))
    for name in begun.arms.keys() & asked.arms.keys():
        yield from differences(_setting(begun, name), _setting(asked, name), f"arms.{name}")
    if begun.any_needs_teacher and asked.any_needs_teacher:
        yield from differences(identity(begun.teacher), identity(asked.teacher), "teacher")


def _shared(config: StudyConfig) -> dict[str, Any]:
    return {name: value for name, value in identity(config).items() if name not in OWN}


def _setting(config: StudyConfig, name: str) -> dict[str, Any]:
    return {key: value for key, value in identity(config.arms[name]).items() if key != "trials"}

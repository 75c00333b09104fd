"""What `kdstudy plan` and `study.plan` find: what a study takes on this machine, and how many seeds show what."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, sqrt
from pathlib import Path
from typing import Any

from analysis import statistics
from analysis.statistics.planning import Noise, seeds_needed, smallest_shown
from analysis.studies.study import open_study
from analysis.verdict.noise import LEVEL, noise_of_family, noise_of_study
from study.configuration.config import StudyConfig
from study.execution.planning.plan import Plan, plan_study
from study.execution.planning.replicates import short_replicates, trainable_arms
from trainers.config import plain

UNKNOWN = (
    "how many it takes depends on the noise over seeds, which is not known; give --noise K, --noise-from DIR or "
    "--noise-points SD"
)
TARGETS = (0.5, 1.0, 2.0)
"""Differences in points of mIoU."""


@dataclass(frozen=True, kw_only=True)
class NoiseSource:
    """Where the noise over seeds is taken from; at most one of the three.

    Attributes:
        replicates: so many short replicates of each arm, trained now.
        study: the folder of a study whose settings ran with several seeds.
        points: standard deviation over seeds of one setting's mIoU, in points.
    """

    replicates: int | None = None
    study: Path | None = None
    points: float | None = None


@dataclass(frozen=True, kw_only=True)
class SeedsPlan:
    """How many seeds show what.

    Attributes:
        noise: of a difference; None where none is known.
        source: where it comes from, or why none is known.
        methods: searches whose best settings are held against the plain arm's.
        needed: seeds of each setting by points of a difference that they show in 80 % of studies; None where no
            number does.
        shown: the smallest difference that the planned seeds show; None where none are planned, or noise is unknown.
    """

    noise: Noise | None
    source: str
    methods: int
    needed: Mapping[float, int | None]
    shown: float | None


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a study takes, and how many seeds show what."""

    plan: Plan
    seeds: SeedsPlan

    def values(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        found: dict[str, Any] = plain({"plan": self.plan, "seeds": self.seeds})
        noise = found["seeds"]["noise"]
        if noise and isinf(noise["groups"]):
            noise["groups"] = None
        return found


def planned(config: StudyConfig, *, seeds: int | None = None, noise: NoiseSource | None = None) -> StudyPlan:
    """Plan a study.

    Args:
        config: the study, checked.
        seeds: of the replicates to plan; None for none.
        noise: where the noise over seeds is taken from; None for nowhere.

    Raises:
        ValueError: a number is too small, or the noise cannot be had.
    """
    source = noise or NoiseSource()
    _refuse(source)
    given = _known(source)  # first, as it takes no time
    arms = () if source.replicates is None else trainable_arms(config)
    plan = plan_study(config, seeds=seeds, say=_say)
    if source.replicates is not None and _methods(config):
        given = _trained(config, [name for name in arms if name in plan.arms], source.replicates)
    return StudyPlan(plan=plan, seeds=_seeds_plan(config, *given, seeds))


def _refuse(source: NoiseSource) -> None:
    given = [name for name, value in plain(source).items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"noise must come from one source, but got {' and '.join(given)}; name one of them")
    if source.replicates is not None and source.replicates < 2:
        raise ValueError(
            f"--noise must be at least 2 short replicates, because one has no spread, but got {source.replicates}; "
            "3 is a beginning"
        )
    if source.points is not None and not 0 < source.points < float("inf"):
        raise ValueError(f"--noise-points must be above 0, but got {source.points:g}; 0.5 to 1 is usual")


def _known(source: NoiseSource) -> tuple[Noise | None, str]:
    if source.study is not None:
        return noise_of_study(open_study(source.study)), f"of the runs with several seeds in {source.study}"
    if source.points is not None:
        # of two independent runs: that equal seeds make them more alike than that is not known
        said = f"given: {source.points:g} points of each setting, independent"
        return Noise(seed_points=sqrt(2) * source.points), said
    return None, UNKNOWN


def _trained(config: StudyConfig, arms: Sequence[str], seeds: int) -> tuple[Noise | None, str]:
    """The noise of short replicates; None and why, where the plan is all that can be had."""
    if not arms:
        return None, "not known: of the arms that short replicates could be trained of, none can be trained here"
    try:
        found = short_replicates(config, arms, seeds, _say)
    except ValueError as error:
        return None, f"not known: {error}"
    said = f"of {seeds} replicates of {found.iterations} iterations of {', '.join(found.arms)}"
    if len(found.arms) > 1:
        return noise_of_family(statistics.judge(found.counts, found.groups, level=LEVEL)), said
    scores = statistics.miou_percent(found.counts[0].sum(1), statistics.labelled_classes(found.counts[0]))
    return Noise(seed_points=sqrt(2) * float(scores.std(ddof=1))), f"{said}, taken as independent in the others"


def _methods(config: StudyConfig) -> int:
    """Settings that replicates hold against the plain arm's: the best one of each search of the others."""
    plain_arm = config.plain_arm
    return sum((arm.search_of or name) != plain_arm for name, arm in config.arms.items()) if plain_arm else 0


def _seeds_plan(config: StudyConfig, noise: Noise | None, source: str, seeds: int | None) -> SeedsPlan:
    methods = _methods(config)
    if not methods:
        lacks = "arm beside the plain student's" if config.plain_arm else "plain student to compare with"
        source = f"the study has no {lacks}, so there is nothing to show"
    if noise is None or not methods:
        return SeedsPlan(noise=noise, source=source, methods=methods, needed={}, shown=None)
    return SeedsPlan(
        noise=noise,
        source=source,
        methods=methods,
        needed={points: seeds_needed(noise, points, methods=methods, level=LEVEL) for points in TARGETS},
        shown=smallest_shown(noise, seeds=seeds, methods=methods, level=LEVEL) if seeds and seeds > 1 else None,
    )


def _say(line: str) -> None:
    print(f"plan: {line}", file=sys.stderr, flush=True)

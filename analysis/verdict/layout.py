"""The block layout of a study, settings by seeds: which runs are compared, over the same seeds for all.

Means and differences that stand beside each other are over the same seeds: those that every setting without a failure
has finished. A setting of which a seed failed stays in and gets no verdict, because seeds that diverge are not a random
part of all; so do all where it is the baseline's. While a study runs, a setting that has only begun waits, so that it
does not take seeds from the others.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Counts, Family, MethodDifference, judge
from analysis.studies.image_counts import ImageCounts, TrialName
from analysis.studies.runs import Run, Runs, Seeds


@dataclass(frozen=True)
class Layout:
    """Settings that are judged together.

    Attributes:
        settings: the baseline first.
        seeds: two or more.
    """

    settings: tuple[Runs, ...]
    seeds: tuple[Seeds, ...]

    def runs(self, setting: Runs) -> list[Run]:
        """Those of a setting that are in its difference: of seeds that it and the baseline have finished."""
        mine, base = setting.by_seeds, self.settings[0].by_seeds
        return [mine[seeds] for seeds in self.seeds if seeds in mine and seeds in base]


def seed_layout(baseline: Runs, methods: Sequence[Runs], counted: Container[TrialName]) -> Layout | None:
    """The settings that can be judged over seeds; None where there is no method or fewer than two seeds.

    Args:
        baseline: its best setting.
        methods: all settings of the other arms.
        counted: trials whose images' counts there are.
    """
    own = _ended(baseline, counted)
    failed = [runs for runs in methods if runs.failed]
    whole = {id(runs): own & _ended(runs, counted) for runs in methods if not runs.failed}
    found = [runs for runs in methods if len(whole.get(id(runs), ())) > 1]
    seeds = own.intersection(*(whole[id(runs)] for runs in found))
    while found and len(seeds) < 2:
        found.remove(min(found, key=lambda runs: len(whole[id(runs)])))
        seeds = own.intersection(*(whole[id(runs)] for runs in found))
    if len(seeds) < 2 or not (found or failed):
        return None
    return Layout((baseline, *found, *failed), tuple(sorted(seeds, key=str)))


def _ended(runs: Runs, counted: Container[TrialName]) -> set[Seeds]:
    finished = {seeds for seeds, run in runs.by_seeds.items() if run.name in counted}
    return finished | {seeds for seeds in runs.failed if None not in seeds}


def judged(
    layout: Layout, counts: ImageCounts, groups: NDArray[np.str_] | None, level: float
) -> tuple[Family, list[MethodDifference]]:
    """What the settings' counts show; the differences are those of the settings but the baseline, in their order."""
    dense, finished = _dense(layout, counts)
    family = judge(dense, groups, finished, level=level)
    return family, [
        _without_verdict(difference) if runs.failed else difference
        for runs, difference in zip(layout.settings[1:], family.differences, strict=True)
    ]


def _without_verdict(difference: MethodDifference) -> MethodDifference:
    """Also where the seed that failed is none of those that all have ended so far."""
    return replace(difference, low=None, high=None, p_value=None, detectable=None)


def _dense(layout: Layout, counts: ImageCounts) -> tuple[Counts, NDArray[np.bool_]]:
    """[arms, seeds, images, classes, 3], 0 where a run failed, and which finished [arms, seeds]."""
    places = {name: place for place, name in enumerate(counts.trials)}
    shape = (len(layout.settings), len(layout.seeds))
    dense, finished = np.zeros((*shape, *counts.counts.shape[1:]), np.int64), np.zeros(shape, bool)
    for arm, setting in enumerate(layout.settings):
        runs = setting.by_seeds
        for column, seeds in enumerate(layout.seeds):
            if seeds in runs and runs[seeds].name in places:
                dense[arm, column] = counts.counts[places[runs[seeds].name]]
                finished[arm, column] = True
    return dense, finished

"""Settings of one study against its baseline: each arm's best, and what its difference shows beside all others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from analysis import statistics
from analysis.statistics import Family, Interval, MethodDifference
from analysis.statistics.families import Outcome
from analysis.studies.image_counts import ImageCounts, TrialName, image_counts, rescored_counts
from analysis.studies.image_groups import ImageGroups, image_groups
from analysis.studies.runs import Run, Runs, best_of, mean_cost, pair_runs, settings_of
from analysis.studies.study import Study
from analysis.verdict.layout import Layout, judged, seed_layout
from analysis.verdict.looks import Look, look, planned_look
from study.tables import parameters_of

REPLICATE = "replicate"
"""The folder in a study's that holds its replicates, and the parameter that numbers them."""
EQUIVALENT = 1.0
"""Points up to which a difference counts as none, in studies that do not say."""
Shown = Outcome | Literal["one seed", "interim", "waiting"]


@dataclass(frozen=True)
class Standing:
    """A setting with its evidence.

    Attributes:
        arm: whose best it is.
        name: of the trial, or of the arm where that has one setting with several seeds.
        parameters: what was searched, by path.
        miou_percent: by the study's objective, the mean over the runs that are in `difference`; None where all failed.
        chosen_from: finished settings of the arm, of which this was the best on the images that score it.
        difference: to the baseline, in points; None for the baseline itself, and where there is no evidence.
        images: that score it; 0 where what they counted is not known.
        ended: seeds with which it ran, that have ended.
        failed: those of them that failed.
        outcome: what the difference shows, or that it has too few seeds so far; None where there is none to expect.
        by_seed: the difference to the baseline of each seed that both finished, in points.
        cost_trials: of a run, the mean, in whole trials of the plain student; None where there are no prices.
    """

    arm: str
    name: str
    parameters: Mapping[str, Any]
    miou_percent: Interval | None
    chosen_from: int
    difference: MethodDifference | None
    images: int
    ended: int
    failed: int
    outcome: Shown | None
    by_seed: tuple[float, ...] = ()
    cost_trials: float | None = None

    @property
    def p_value(self) -> float | None:
        """That of the difference, adjusted for all differences to the baseline; None where there is no verdict."""
        return self.difference.p_value if self.difference and self.outcome != "one seed" else None

    @property
    def is_better(self) -> bool:
        """Whether several seeds show it to be better than the baseline."""
        return self.outcome == "better"


@dataclass(frozen=True)
class Standings:
    """The settings of a study.

    Attributes:
        split: whose images judged them.
        baseline: the arm that others are held against; None where the study has none.
        own_arms: the baseline's arms: itself and its further searches.
        base_arm: that of them which has the setting that the others are held against; None where none has ended.
        by_arm: every arm with a finished trial, or one that failed with several seeds.
        family: of all settings with several seeds; None where there are none.
        look: how often this was asked; None where there is no family.
        seeds: how many the differences are over; 0 where there is none.
        shares: in what share of joint draws each setting of the family is the best, by name. Descriptive.
        not_worse: settings of the family that are not shown to be worse than any other.
        ungrouped: what is not known of the groups of images, as a sentence; empty where they are known.
        margin: points up to which a difference counts as none.
        planned: seeds that each setting was to have; None where the study does not say.
    """

    split: str
    baseline: str | None
    own_arms: tuple[str, ...]
    base_arm: str | None
    ungrouped: str
    margin: float
    planned: int | None
    by_arm: Mapping[str, Standing] = field(default_factory=dict)
    family: Family | None = None
    look: Look | None = None
    seeds: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    not_worse: tuple[str, ...] = ()

    @property
    def base(self) -> Standing:
        """What the others are held against; only where something is."""
        assert self.base_arm is not None
        return self.by_arm[self.base_arm]

    @property
    def compared(self) -> list[Standing]:
        """Those with a difference to the baseline, the best first; those of which no pair finished last."""
        found = [standing for standing in self.by_arm.values() if standing.difference]
        return sorted(found, key=lambda standing: -_points(standing))


def _points(standing: Standing) -> float:
    estimate = standing.difference.estimate if standing.difference else None
    return -math.inf if estimate is None else estimate


def standings(study: Study, rescored_on: str | None = None, *, first_seeds: int | None = None) -> Standings:
    """The best setting of each arm, held against that of the baseline, on the same images and seeds.

    All settings that ran with several seeds are judged together, so that the best of an arm's has to show as much more
    as it had chances.

    Args:
        study: finished or running.
        rescored_on: a split on which stored checkpoints were judged again; the study's own where None.
        first_seeds: as if so many seeds had been planned and no others trained; that is no look. All where None.

    Raises:
        ValueError: trials were evaluated on different images.
    """
    arms = sorted(set(study.trials["arm"].to_pylist()))
    settings = {arm: _candidates(study, arm) for arm in arms}
    if first_seeds is not None:
        settings = _of_first_seeds(settings, first_seeds)
    evidence = _evidence(study, settings, rescored_on)
    settings = {arm: [kept for runs in found if (kept := evidence.of(runs))] for arm, found in settings.items()}
    own = tuple(arm for arm in arms if study.first_search(arm) == study.baseline)
    of_base = [runs for arm in own for runs in settings[arm]]
    base = best_of(of_base) or next(iter(of_base), None)
    methods = [runs for arm in arms if arm not in own for runs in settings[arm]]
    layout = seed_layout(base, methods, evidence.counts.trials) if base else None
    about = Standings(
        split=evidence.split,
        baseline=study.baseline,
        own_arms=own,
        base_arm=next((arm for arm in own if any(runs is base for runs in settings[arm])), None),
        ungrouped=evidence.groups.missing,
        margin=float(study.config.get("equivalence_points", EQUIVALENT)),
        planned=study.config.get("planned_seeds") if first_seeds is None else first_seeds,
    )
    if layout:
        return _over_seeds(study, about, settings, layout, evidence, recorded=first_seeds is None)
    return _of_one_seed(about, settings, {id(runs): _difference(runs, base, evidence) for runs in methods}, evidence)


def _candidates(study: Study, arm: str) -> list[Runs]:
    """The settings of an arm that ran with several seeds, and the best one."""
    settings = settings_of(study, arm)
    best = best_of(settings)
    return [runs for runs in settings if runs is best or runs.failed or len(runs.by_seeds) > 1]


def _of_first_seeds(settings: Mapping[str, Sequence[Runs]], number: int) -> dict[str, list[Runs]]:
    """The settings with their runs of the lowest seeds alone, the same ones for all; those without any are left out."""
    all_runs = [runs for found in settings.values() for runs in found]
    all_seeds = {seeds for runs in all_runs for seeds in (*runs.by_seeds, *runs.failed) if None not in seeds}
    first = sorted(all_seeds)[:number]
    return {
        arm: [kept for runs in found if (kept := runs.of_seeds(first)).runs or kept.failed]
        for arm, found in settings.items()
    }


@dataclass(frozen=True)
class _Evidence:
    """What scores a study's runs.

    Attributes:
        split: whose images.
        counts: of them.
        scores: mIoU in percent of each run.
        groups: which images belong together.
        rescored: whether only runs count that have counts.
    """

    split: str
    counts: ImageCounts
    scores: Mapping[TrialName, float]
    groups: ImageGroups
    rescored: bool

    def of(self, runs: Runs) -> Runs | None:
        """A setting; where checkpoints were judged again, with those runs alone, and None where there are none."""
        if not self.rescored:
            return runs
        kept = tuple(run for run in runs.runs if run.name in self.scores)
        return replace(runs, runs=kept) if kept else None


def _evidence(study: Study, settings: Mapping[str, Sequence[Runs]], rescored_on: str | None) -> _Evidence:
    runs = [run for found in settings.values() for runs in found for run in runs.runs]
    names, split = [run.name for run in runs], rescored_on or study.split
    if rescored_on is None:
        counts = image_counts(study, names, study.evaluation)
        scores = {run.name: run.row[study.objective] for run in runs}
    else:
        counts = rescored_counts(study, names, rescored_on)
        scores = dict(zip(counts.trials, statistics.miou_percent(counts.counts.sum(1)).tolist(), strict=True))
    return _Evidence(split, counts, scores, image_groups(study, counts.images, split), rescored_on is not None)


def _of_one_seed(
    about: Standings,
    settings: Mapping[str, Sequence[Runs]],
    differences: Mapping[int, MethodDifference | None],
    evidence: _Evidence,
) -> Standings:
    """Each arm's best by its score."""
    best = {arm: runs for arm, found in settings.items() if (runs := best_of(found) or next(iter(found), None))}
    by_arm = {
        arm: _standing(arm, runs, runs.runs, evidence, found, "one seed" if found else None)
        for arm, runs in best.items()
        for found in (differences.get(id(runs)),)
    }
    compared = any(standing.difference for standing in by_arm.values())
    return replace(about, by_arm=by_arm, seeds=int(compared))


def _over_seeds(
    study: Study,
    about: Standings,
    settings: Mapping[str, Sequence[Runs]],
    layout: Layout,
    evidence: _Evidence,
    *,
    recorded: bool,
) -> Standings:
    """Each arm's best by its difference, with what the family of all settings shows of it."""
    finished = {runs.name: list(runs.by_seeds) for runs in layout.settings}
    interim = _interim(study, about, layout)
    looked = look(study.folder, about.split, finished, interim=interim) if recorded else planned_look(interim=interim)
    family, found = judged(layout, evidence.counts, evidence.groups.names, looked.level)
    differences = dict(zip(map(id, layout.settings[1:]), found, strict=True))
    by_arm = {}
    for arm, candidates in settings.items():
        runs = _best_judged(candidates, differences) or best_of(candidates) or next(iter(candidates), None)
        if runs is None:
            continue
        difference = differences.get(id(runs))
        within = layout.runs(runs) if difference or runs is layout.settings[0] else runs.runs
        shown = _shown(difference, looked, about.margin) if difference else "waiting"
        standing = _standing(arm, runs, within, evidence, difference, None if arm in about.own_arms else shown)
        by_arm[arm] = replace(standing, by_seed=_by_seed(runs, layout, evidence) if difference else ())
    shares = zip(layout.settings, family.best_shares, strict=True)
    return replace(
        about,
        by_arm=by_arm,
        family=family,
        look=looked,
        seeds=len(layout.seeds),
        shares={runs.name: share for runs, share in shares if share is not None},
        not_worse=tuple(r.name for r, stays in zip(layout.settings, family.not_worse, strict=True) if stays),
    )


def _by_seed(runs: Runs, layout: Layout, evidence: _Evidence) -> tuple[float, ...]:
    base = layout.settings[0]
    mine, own = runs.by_seeds, base.by_seeds
    both = [seeds for seeds in layout.seeds if seeds in mine and seeds in own]
    return tuple(evidence.scores[mine[seeds].name] - evidence.scores[own[seeds].name] for seeds in both)


def _interim(study: Study, about: Standings, layout: Layout) -> bool:
    """Whether seeds that were planned have not ended, in settings that are not given up."""
    there = {name for runs in layout.settings for name in (runs.name, *(run.row["arm"] for run in runs.runs))}
    waiting = set(study.config.get("arms", {})) - there - set(about.own_arms)
    return about.planned is not None and (len(layout.seeds) < about.planned or bool(waiting))


def _best_judged(candidates: Sequence[Runs], differences: Mapping[int, MethodDifference]) -> Runs | None:
    """Of an arm's settings the best one that has a verdict, else the best one."""

    def order(runs: Runs) -> tuple[bool, float]:
        found = differences[id(runs)]
        return found.low is not None, -math.inf if found.estimate is None else found.estimate

    return max((runs for runs in candidates if id(runs) in differences), key=order, default=None)


def _shown(difference: MethodDifference, looked: Look, margin: float) -> Shown:
    outcome = difference.outcome(margin)
    return "interim" if looked.interim and outcome != "no verdict" else outcome


def _standing(
    arm: str,
    runs: Runs,
    within: Sequence[Run],
    evidence: _Evidence,
    difference: MethodDifference | None,
    outcome: Shown | None,
) -> Standing:
    first = within[0] if within else next(iter(runs.runs), None)
    scores = [evidence.scores[run.name] for run in within]
    return Standing(
        arm=arm,
        name=runs.name,
        parameters=searched_values(first.row) if first else {},
        miou_percent=statistics.mean_over_seeds(scores) if scores else None,
        chosen_from=runs.chosen_from,
        difference=difference,
        images=len(evidence.counts.images),
        ended=len(runs.runs) + len(runs.failed),
        failed=len(runs.failed),
        outcome=outcome,
        cost_trials=mean_cost(within),
    )


def _difference(a: Runs, b: Runs | None, evidence: _Evidence) -> MethodDifference | None:
    """Without an interval, as one seed cannot tell; None where no pair has counts."""
    if b is None:
        return None
    try:
        pairs = pair_runs(a, b)
    except ValueError:
        return None
    whole = [pair for pair in pairs if all(run.name in evidence.counts.trials for run in pair)]
    if not whole:
        return None
    points = [evidence.scores[one.name] - evidence.scores[other.name] for one, other in whole]
    return MethodDifference(sum(points) / len(points), None, None, None, None, len(whole), len(a.failed))


def searched_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was searched in a trial, by path; not which replicate it is."""
    return {path: value for path, value in parameters_of(row).items() if path != REPLICATE}

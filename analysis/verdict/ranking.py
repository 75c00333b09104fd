"""Settings of one study against its baseline: each arm's best, its difference, and a p value that allows for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from analysis import statistics
from analysis.statistics import Difference, Interval, difference_over_images
from analysis.studies.image_counts import ImageCounts, TrialName, image_counts
from analysis.studies.runs import Runs, best_runs, pair_runs
from analysis.studies.study import Study
from study.tables import parameters_of

REPLICATE = "replicate"
"""The folder in a study's that holds its replicates, and the parameter that numbers them."""
FAMILY_LEVEL = 0.05
"""How often a study without any true difference may call a setting different."""


@dataclass(frozen=True)
class Standing:
    """A setting with its evidence.

    Attributes:
        arm: whose best it is.
        name: of the trial, or of the arm where that has one setting with several seeds.
        parameters: what was searched, by path.
        miou_percent: by the study's objective, the mean over runs.
        chosen_from: finished settings of the arm, of which this was the best on the images that score it.
        difference: to the baseline, in points; None for the baseline itself, and where there is no evidence.
        p_value: that of `difference`, times the settings chosen from (Bonferroni), adjusted for all differences to the
            baseline (Holm).
    """

    arm: str
    name: str
    parameters: Mapping[str, Any]
    miou_percent: Interval
    chosen_from: int
    difference: Difference | None
    p_value: float | None

    @property
    def is_better(self) -> bool:
        """Whether several seeds show it to be better than the baseline."""
        if self.difference is None or self.p_value is None:
            return False
        return self.difference.seeds > 1 and self.difference.estimate > 0 and self.p_value <= FAMILY_LEVEL


@dataclass(frozen=True)
class Lead:
    """The best setting with several seeds, against the next best but the baseline; picking them is not allowed for."""

    first: str
    second: str
    difference: Difference


@dataclass(frozen=True)
class Standings:
    """The settings of a study.

    Attributes:
        split: whose images judged them.
        baseline: the arm that others are held against; None where the study has none.
        by_arm: every arm with a finished trial.
        lead: None where fewer than two settings besides the baseline have several seeds.
    """

    split: str
    baseline: str | None
    by_arm: Mapping[str, Standing]
    lead: Lead | None

    @property
    def compared(self) -> list[Standing]:
        """Those with a difference to the baseline, the best first."""
        found = [(-standing.difference.estimate, standing) for standing in self.by_arm.values() if standing.difference]
        return [standing for _, standing in sorted(found, key=itemgetter(0))]

    @property
    def seeds(self) -> int:
        """The most that a difference has."""
        return max((standing.difference.seeds for standing in self.compared if standing.difference), default=0)


def standings(study: Study) -> Standings:
    """The best setting of each arm, held against that of the baseline, on the same images and, where it can, seeds.

    Raises:
        ValueError: trials were evaluated on different images.
    """
    arms = sorted(set(study.trials["arm"].to_pylist()))
    best = {arm: found for arm in arms if (found := best_runs(study, arm)) is not None}
    baseline = study.baseline
    base = best.get(baseline or "")
    counts = image_counts(study, [run.name for runs in best.values() for run in runs.runs], study.evaluation)
    others = {arm: runs for arm, runs in best.items() if runs is not base}
    pairs = {arm: _difference(runs, base, counts) for arm, runs in others.items() if base is not None}
    differences = {arm: difference for arm, difference in pairs.items() if difference is not None}
    adjusted = statistics.holm([found.p_value * best[arm].chosen_from for arm, found in differences.items()])
    p_values = dict(zip(differences, adjusted, strict=True))
    by_arm = {
        arm: Standing(
            arm=arm,
            name=runs.name,
            parameters=searched_values(runs.runs[0].row),
            miou_percent=statistics.mean_over_seeds(runs.scores),
            chosen_from=runs.chosen_from,
            difference=differences.get(arm),
            p_value=p_values.get(arm),
        )
        for arm, runs in best.items()
    }
    return Standings(study.split, baseline, by_arm, _lead([others[arm] for arm in differences], counts))


def _difference(a: Runs, b: Runs, counts: ImageCounts) -> Difference | None:
    """None where no pair has counts."""
    try:
        pairs = pair_runs(a, b)
    except ValueError:
        return None
    whole = [(x.name, y.name) for x, y in pairs if x.name in counts.trials and y.name in counts.trials]
    return _of(whole, counts) if whole else None


def _of(pairs: list[tuple[TrialName, TrialName]], counts: ImageCounts) -> Difference:
    a, b = (counts.only([pair[i] for pair in pairs]).counts for i in (0, 1))
    return difference_over_images(a, b)


def _lead(settings: list[Runs], counts: ImageCounts) -> Lead | None:
    ranked = sorted((runs for runs in settings if len(runs.runs) > 1), key=lambda runs: -runs.mean)[:2]
    if len(ranked) < 2:
        return None
    difference = _difference(ranked[0], ranked[1], counts)
    return Lead(ranked[0].name, ranked[1].name, difference) if difference else None


def searched_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was searched in a trial, by path; not which replicate it is."""
    return {path: value for path, value in parameters_of(row).items() if path != REPLICATE}

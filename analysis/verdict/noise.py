"""The noise that a study's runs with several seeds have shown, to plan another study by."""

from analysis.statistics import Family
from analysis.statistics.planning import Noise
from analysis.studies.study import Study
from analysis.verdict.arm_evidence import replicates
from analysis.verdict.looks import PLANNED_LEVEL
from analysis.verdict.ranking import standings

MANY = 10**6
"""More seeds than any study has: all of them, without a look that would be recorded."""
LEVEL = PLANNED_LEVEL
"""Of the verdict on the planned seeds."""


def noise_of_study(study: Study) -> Noise:
    """The noise of differences in a study's replicates, or among its own arms that repeat a setting.

    Args:
        study: the search, or a study of replicates.

    Raises:
        ValueError: no two settings of it ran with the same two seeds.
    """
    again = replicates(study, first_seeds=MANY)
    found = again if again is not None and again.family is not None else standings(study, first_seeds=MANY)
    if found.family is None or found.family.seed_points is None:
        raise ValueError(
            f"noise over seeds needs two settings that ran with the same two seeds or more, but {study.folder} has "
            f"none: kdstudy replicate {study.folder}"
        )
    return noise_of_family(found.family)


def noise_of_family(family: Family) -> Noise:
    """That of arms that were judged together."""
    assert family.seed_points is not None
    return Noise(seed_points=family.seed_points, image_points=family.image_points, groups=family.groups)

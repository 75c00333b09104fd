"""What replicates would have shown with fewer seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.studies.study import Study
from analysis.tuning import arm_tunings, tuning_caveats
from analysis.verdict.arm_evidence import replicates
from analysis.verdict.ranking import Standings, standings
from analysis.verdict.sentences import answer

MANY = 10**6
"""More seeds than any study has."""


@dataclass(frozen=True, kw_only=True)
class SeedsReplay:
    """A verdict with fewer seeds, beside that with all.

    Attributes:
        seeds: of each setting, the lowest ones.
        all_seeds: that there are.
        answer: the verdict with `seeds`, as if these had been planned and no others trained, in sentences.
        full_answer: that with all, in the same way.
    """

    seeds: int
    all_seeds: int
    answer: tuple[str, ...]
    full_answer: tuple[str, ...]


def replay_seeds(study: Study, seeds: int) -> SeedsReplay:
    """The verdict on the replicates of a study, or on its own arms that repeat a setting, with fewer seeds.

    It is no look: nothing is recorded.

    Args:
        study: the search, or a study of replicates.
        seeds: two or more, and at most as many as there are.

    Raises:
        ValueError: there are no runs with several seeds, or not so many.
    """
    full = _judged(study, MANY)
    if full.family is None:
        raise ValueError(
            f"--seeds needs settings that ran with several seeds, but {study.folder} has none: "
            f"kdstudy replicate {study.folder}"
        )
    if not 2 <= seeds <= full.seeds:
        raise ValueError(f"--seeds must be from 2 to {full.seeds}, the seeds that have ended, but got {seeds}")
    caveats = tuning_caveats(study, arm_tunings(study))
    fewer = _judged(study, seeds)
    return SeedsReplay(
        seeds=seeds,
        all_seeds=full.seeds,
        answer=_answer(fewer, caveats),
        full_answer=_answer(_judged(study, full.seeds), caveats),
    )


def _judged(study: Study, seeds: int) -> Standings:
    again = replicates(study, first_seeds=seeds)
    return again if again is not None and again.family is not None else standings(study, first_seeds=seeds)


def _answer(judged: Standings, caveats: Sequence[str]) -> tuple[str, ...]:
    return tuple(answer(judged, caveats))

"""Which method, with which settings, is really better, and how sure are we? The answer of one study's tables.

A search alone answers it badly: its best trials were chosen on the images that score them, and each setting was run
with one seed. So what it found is told with how much the choice flatters it, and only runs with several seeds, as
DIR/replicate holds them, may call a method better. Several arms against one baseline are several questions: their
intervals hold together, and what they show is what their p values show.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from analysis.comparison.wording import counted
from analysis.studies.study import Evaluation, Study
from analysis.tuning import ArmTuning, arm_tunings, spending_notes, tuning_caveats, undone_notes
from analysis.verdict.arm_evidence import ArmVerdict, Rescored, arm_verdicts, replicates, rescored_trials
from analysis.verdict.looks import Look
from analysis.verdict.ranking import Standings, standings
from analysis.verdict.sentences import against, answer, flattery, rescored_on


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        study: its name.
        dataset: its name.
        split: whose images scored the search's trials.
        evaluation: what the search maximised: mIoU of the `last` or the `best` evaluation.
        baseline: the arm that others are held against; None where there is none.
        arms: by name.
        look: how often the runs with several seeds were judged; None where there are none.
        seed_points: standard deviation over seeds of the difference between two runs, in points; None where unknown.
        shares: in what share of joint draws each setting with several seeds is the best. Descriptive.
        not_worse: of those, the settings that are not shown to be worse than any other.
        caveats: why a method that is better may owe it to better tuning, in sentences.
        tunings: what the tuning of each arm that searched cost and gave.
        tuning: the same in sentences, and what it leaves undone.
        rescored: trials on images that the search has not seen.
        answer: in sentences, the most important first.
        missing: what the evidence lacks, in sentences.
    """

    study: str
    dataset: str
    split: str
    evaluation: Evaluation
    baseline: str | None
    arms: tuple[ArmVerdict, ...]
    look: Look | None
    seed_points: float | None
    shares: Mapping[str, float]
    not_worse: tuple[str, ...]
    caveats: tuple[str, ...]
    tunings: tuple[ArmTuning, ...]
    tuning: tuple[str, ...]
    rescored: tuple[Rescored, ...]
    answer: tuple[str, ...]
    missing: tuple[str, ...]


def verdict(study: Study) -> Verdict:
    """What a study shows, and what it does not. It is recorded that one has looked; see `looks`.

    Raises:
        ValueError: trials of the study were evaluated on different images.
    """
    searched, again = standings(study), replicates(study)
    arms = arm_verdicts(study, searched, again)
    judged = again if again is not None and again.family is not None else searched
    tunings = arm_tunings(study)
    caveats = tuning_caveats(study, tunings)
    rescored = rescored_trials(study)
    return Verdict(
        study=study.name,
        dataset=study.dataset,
        split=study.split,
        evaluation=study.evaluation,
        baseline=searched.baseline,
        arms=arms,
        look=judged.look,
        seed_points=judged.family.seed_points if judged.family else None,
        shares=judged.shares,
        not_worse=judged.not_worse,
        caveats=caveats,
        rescored=rescored,
        tunings=tunings,
        tuning=(*spending_notes(study, tunings), *undone_notes(tunings)),
        answer=(*answer(judged, caveats), *_elsewhere(study, rescored, caveats), *flattery(arms)),
        missing=(
            *study.gaps,
            *study.unequal_terms,
            *_missing_runs(study, searched, again, rescored),
            *_missing_looks(judged),
            *_missing_search(study, arms),
        ),
    )


def _elsewhere(study: Study, rescored: Sequence[Rescored], caveats: Sequence[str]) -> Iterator[str]:
    """What images show on which stored checkpoints were judged again: of the replicates, or else of the search."""
    for split in sorted({one.split for one in rescored}):
        found = (replicates(study, split), standings(study, split))
        compared = next((one for one in found if one and one.compared), None)
        if compared:
            yield from (against(standing, compared, caveats) for standing in compared.compared)
    yield from rescored_on(rescored)


def _missing_runs(
    study: Study, searched: Standings, again: Standings | None, rescored: Sequence[Rescored]
) -> Iterator[str]:
    """What the runs lack that were judged."""
    if not (searched.family or (again and again.family)):
        yield f"runs with other seeds: kdstudy replicate {study.folder} --seeds 5"
    if not rescored and (again is None or again.split == study.split):
        yield (
            f"a score on images that the search has not seen: all mIoU is of {study.split}, on which it chose, which "
            f"flatters arms that had more to choose from; kdstudy replicate {study.folder} --split test judges on "
            "others, where test has labels"
        )
    judged = again or searched
    if judged.ungrouped:
        yield judged.ungrouped
    yield from _incomparable("the search", searched)
    if again:
        yield from _incomparable("the replicates", again)


def _missing_looks(judged: Standings) -> Iterator[str]:
    """What was not planned, and what will not be remembered."""
    if judged.look is None:
        return
    if judged.planned is None:
        yield "a planned number of seeds: the first look at several seeds counts as the planned one"
    if judged.look.later:
        yield (
            f"the first look: this is look {judged.look.later} after it, at a level of {judged.look.level:g}, because "
            "whoever looks again has another chance to be wrong"
        )
    if not judged.look.recorded:
        yield "a record of this look: the study's folder cannot be written, so the next one will not allow for it"


def _incomparable(where: str, found: Standings) -> Iterator[str]:
    """Why settings that finished could not be held against the baseline."""
    others = [(arm, standing) for arm, standing in found.by_arm.items() if arm not in found.own_arms]
    lacking = [arm for arm, standing in others if not standing.difference]
    if lacking and not any(arm in found.by_arm for arm in found.own_arms):
        yield f"in {where}, a finished baseline"
    elif lacking:
        yield f"in {where}, two of the baseline's seeds or the counts of its images: {', '.join(lacking)}"


def _missing_search(study: Study, arms: Sequence[ArmVerdict]) -> Iterator[str]:
    """What the search lacks."""
    if study.evaluation == "best":
        yield "an unflattered score: the search maximised the best evaluation of each run, chosen on the same images"
    if more := study.config.get("search", {}).get("objectives", ())[1:]:
        yield (
            f"all but mIoU, by which the best trial of an arm is chosen: {', '.join(more)} was searched too; kdstudy "
            f"best {study.folder} --pareto has what each trial takes"
        )
    for arm in arms:
        if failed := arm.states.get("FAIL", 0):
            yield f"{arm.arm}: {failed} of {counted(arm.trials, 'trial')} failed"
    if any(arm.searched for arm in arms):
        yield f"search variance is not in the intervals: {_search_variance(study, arms)}"


def _search_variance(study: Study, arms: Sequence[ArmVerdict]) -> str:
    """How far the best of several searches lie apart, where an arm was searched several times."""
    found: dict[str, list[float]] = {}
    for arm in arms:
        if arm.best and arm.best.miou_percent:
            found.setdefault(study.first_search(arm.arm), []).append(arm.best.miou_percent.estimate)
    several = {name: scores for name, scores in found.items() if len(scores) > 1}
    if not several:
        return "each arm was searched once, and another search would choose another setting; searches: N measures it"
    spreads = ", ".join(f"{name} {stdev(scores):.2f} ({len(scores)} searches)" for name, scores in several.items())
    return f"the best trials of an arm's searches differ by so many points (standard deviation): {spreads}"

"""Which method, with which settings, is really better, and how sure are we? The answer of one study's tables.

A search alone answers it badly: its best trials were chosen on the images that score them, and each setting was run
with one seed. So what it found is told with how much the choice flatters it, and only runs with several seeds, as
DIR/replicate holds them, may call a method better. Several arms against one baseline are several questions: p values
are adjusted with Holm's method, and for the settings that an arm chose from; intervals are at 95 % each, not adjusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.comparison.comparison import FILMED
from analysis.comparison.wording import answer, counted, ends, evidence, settings
from analysis.studies.study import Evaluation, Study
from analysis.verdict.arm_evidence import ArmVerdict, Rescored, arm_verdicts, replicates, rescored_trials
from analysis.verdict.ranking import Lead, Standing, Standings, standings

FEW = 5
"""Finished trials below which an arm has hardly been searched."""


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
        lead: of the settings with several seeds.
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
    lead: Lead | None
    rescored: tuple[Rescored, ...]
    answer: tuple[str, ...]
    missing: tuple[str, ...]


def verdict(study: Study) -> Verdict:
    """What a study shows, and what it does not.

    Raises:
        ValueError: trials of the study were evaluated on different images.
    """
    searched, again = standings(study), replicates(study)
    arms, rescored = arm_verdicts(study, searched, again), rescored_trials(study)
    judged = again if again is not None and again.seeds > 1 else searched
    return Verdict(
        study=study.name,
        dataset=study.dataset,
        split=study.split,
        rescored=rescored,
        evaluation=study.evaluation,
        baseline=searched.baseline,
        arms=arms,
        lead=judged.lead,
        answer=(*_answer(judged), *_rescored_on(rescored), *_flattery(arms)),
        missing=(
            *study.gaps,
            *study.unequal_terms,
            *_missing_runs(study, searched, again, rescored),
            *_missing_search(study, arms, searched.baseline),
        ),
    )


def _answer(judged: Standings) -> Iterator[str]:
    """Of the settings with several seeds, or else of the search's."""
    if judged.baseline is None:
        yield "there is no baseline to be better than: no arm is named baseline, or has no method and uniform weighting"
        return
    if not judged.compared:
        yield f"nothing can be said yet: no finished setting can be compared with a finished {judged.baseline}"
        return
    if judged.seeds < 2:
        yield "no method can be called better: each setting was run with one seed, and another may change their order"
    else:
        better = [standing.name for standing in judged.compared if standing.is_better]
        number = counted(len(judged.compared), "setting")
        yield (
            f"better than {judged.baseline}, of {number} compared with it: {', '.join(better)}"
            if better
            else f"no method is shown to be better than {judged.baseline}: {number} compared with it"
        )
    for standing in judged.compared:
        yield _against(standing, judged)
    if judged.lead:
        yield answer(judged.lead.first, judged.lead.second, judged.lead.difference, judged.split)


def _against(standing: Standing, judged: Standings) -> str:
    found, base = standing.difference, judged.by_arm[judged.baseline or ""]
    assert found is not None and standing.p_value is not None
    points = f"{found.estimate:+.2f} points {ends(found)}"
    told = f"{standing.name} against {base.name}: {points} on {judged.split} ({evidence(found)}"
    if found.seeds > 1:
        told += f"; p {standing.p_value:.3f}, adjusted for {counted(len(judged.compared), 'comparison')}"
        if standing.chosen_from > 1:
            told += f" and the choice among {standing.chosen_from} settings"
    told += ")"
    if found.low <= 0 <= found.high:
        told += f"; the smallest difference that this could have shown is {found.detectable:.2f}"
    return f"{told}; {settings(standing.parameters)}" if standing.parameters else told


def _rescored_on(rescored: Sequence[Rescored]) -> Iterator[str]:
    for split, images in sorted({(one.split, one.images) for one in rescored}):
        scores = [
            f"{one.name} {one.miou_percent:.2f}" for one in rescored if (one.split, one.images) == (split, images)
        ]
        yield f"mIoU % on {split} ({counted(images, 'image')}), which the search has not seen: {', '.join(scores)}"


def _flattery(arms: Sequence[ArmVerdict]) -> Iterator[str]:
    told = [f"{arm.arm} {arm.optimism.estimate:.2f} (of {arm.optimism.n})" for arm in arms if arm.optimism]
    if told:
        yield (
            "being chosen as the best on the images that score it flatters a trial by about so many points: "
            f"{', '.join(told)}; what luck with the seed adds is not in this"
        )


def _missing_runs(
    study: Study, searched: Standings, again: Standings | None, rescored: Sequence[Rescored]
) -> Iterator[str]:
    """What the runs lack that were judged."""
    if max(searched.seeds, again.seeds if again else 0) < 2:
        yield f"runs with other seeds: kdstudy replicate {study.folder} --top 3 --seeds 5"
    if not rescored and (again is None or again.split == study.split):
        yield (
            f"a score on images that the search has not seen: all mIoU is of {study.split}, on which it chose; "
            f"kdstudy rescore {study.folder} --split test, where test has labels"
        )
    if study.dataset in FILMED:
        what = f"those of {study.dataset} are {FILMED[study.dataset]} and alike"
        yield f"independent images: {what}, so intervals over images are too narrow for others"
    yield from _incomparable("the search", searched)
    if again:
        yield from _incomparable("the replicates", again)


def _incomparable(where: str, found: Standings) -> Iterator[str]:
    """Why settings that finished could not be held against the baseline."""
    lacking = [arm for arm, standing in found.by_arm.items() if arm != found.baseline and not standing.difference]
    if lacking and found.baseline not in found.by_arm:
        yield f"in {where}, a finished baseline"
    elif lacking:
        yield f"in {where}, the baseline's seeds or the counts of its images: {', '.join(lacking)}"


def _missing_search(study: Study, arms: Sequence[ArmVerdict], baseline: str | None) -> Iterator[str]:
    """What the search lacks."""
    if study.evaluation == "best":
        yield "an unflattered score: the search maximised the best evaluation of each run, chosen on the same images"
    base = next((arm for arm in arms if arm.arm == baseline), None)
    for arm in arms:
        complete, failed = arm.states.get("COMPLETE", 0), arm.states.get("FAIL", 0)
        if complete < FEW or failed:
            yield (
                f"{arm.arm}: only {complete} of {counted(arm.trials, 'trial')} used the whole budget of {arm.budget} "
                f"iterations; {arm.states.get('PRUNED', 0)} stopped early, {failed} failed"
            )
        if base and (unsearched := [path for path in base.searched if path not in arm.searched]) and arm.searched:
            yield f"{arm.arm} did not search {', '.join(unsearched)}, which {base.arm} did"
    numbers = {arm.trials for arm in arms}
    if len(numbers) > 1:
        yield f"equal chances: arms had from {min(numbers)} to {max(numbers)} trials, and more trials find better ones"

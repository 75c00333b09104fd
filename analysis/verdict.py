"""Which method, with which settings, is really better, and how sure are we? The answer of one study's tables.

A search alone answers it badly: its best trials were chosen on the images that score them, and each setting was run
with one seed. So what it found is told with how much the choice flatters it, and only runs with several seeds, as
DIR/replicate holds them, may call a method better. Several arms against one baseline are several questions: p values
are adjusted with Holm's method; intervals are at 95 % each and not adjusted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis import statistics
from analysis.comparison import FILMED, SPLIT
from analysis.evidence import Evaluation, TrialName, image_counts
from analysis.runs import finished
from analysis.sentences import answer, counted, ends, evidence, settings
from analysis.standings import Lead, Standing, Standings, standings
from analysis.statistics import Interval
from analysis.studies import PARAMETER, Study, open_study

CANDIDATES = 100
"""Trials of an arm whose choice is resampled: its best, as others would not be chosen on other images either."""
FEW = 5
"""Finished trials below which an arm has hardly been searched."""
REPLICATE = "replicate"
"""The folder in a study's that holds its replicates, and the parameter that numbers them."""


@dataclass(frozen=True)
class ArmVerdict:
    """One arm of the search.

    Attributes:
        arm: its name.
        trials: that ended.
        states: trials by state.
        budget: iterations of a whole trial.
        searched: paths that it searched.
        best: the best setting that finished; None where none has.
        optimism: points by which choosing the best of its finished trials on these images flatters it; None where
            nothing was chosen.
        replicates: settings of this arm that were run again with new seeds.
    """

    arm: str
    trials: int
    states: Mapping[str, int]
    budget: int
    searched: tuple[str, ...]
    best: Standing | None
    optimism: Interval | None
    replicates: tuple[Standing, ...]


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        study: its name.
        dataset: its name.
        split: whose images scored the trials.
        evaluation: what the search maximised: mIoU of the `last` or the `best` evaluation.
        baseline: the arm that others are held against; None where there is none.
        arms: by name.
        lead: of the settings with several seeds.
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
    answer: tuple[str, ...]
    missing: tuple[str, ...]


def verdict(study: Study) -> Verdict:
    """What a study shows, and what it does not.

    Raises:
        ValueError: trials of the study were evaluated on different images.
    """
    searched = standings(study)
    repeated = _replicates(study)
    again = standings(repeated) if repeated else None
    of_arm = _sources(study, repeated, again)
    names = sorted(set(study.trials["arm"].to_pylist()))
    optimism = _optimism(study, names)
    arms = tuple(_arm(study, name, searched, optimism.get(name), of_arm.get(name, ())) for name in names)
    judged = again if again is not None and again.seeds > 1 else searched
    return Verdict(
        study=study.name,
        dataset=study.dataset,
        split=SPLIT,
        evaluation=study.evaluation,
        baseline=searched.baseline,
        arms=arms,
        lead=judged.lead,
        answer=(*_answer(judged), *_flattery(arms)),
        missing=(*_missing_runs(study, searched, again), *_missing_search(study, arms, searched.baseline)),
    )


def _replicates(study: Study) -> Study | None:
    """The study in DIR/replicate, once a trial of it has ended."""
    folder = study.folder / REPLICATE
    if not (folder / "study.json").is_file():
        return None
    try:
        return open_study(folder)
    except ValueError:
        return None


def _sources(study: Study, repeated: Study | None, again: Standings | None) -> dict[str, list[Standing]]:
    """The replicated settings of each arm of the search, with the parameters that they had there."""
    found: dict[str, list[Standing]] = {}
    if repeated is None or again is None:
        return found
    sources: Mapping[str, Mapping[str, Any]] = repeated.config.get("replicates", {})
    for name, standing in again.by_arm.items():
        if source := sources.get(name):
            parameters = _parameters(study, TrialName(source["arm"], source["trial"]))
            found.setdefault(source["arm"], []).append(replace(standing, arm=source["arm"], parameters=parameters))
    return found


def _parameters(study: Study, trial: TrialName) -> dict[str, Any]:
    rows = study.trials.filter((pc.field("arm") == trial.arm) & (pc.field("trial") == trial.number)).to_pylist()
    return {
        name.removeprefix(PARAMETER): value
        for row in rows
        for name, value in row.items()
        if name.startswith(PARAMETER) and value is not None
    }


def _arm(
    study: Study, name: str, searched: Standings, optimism: Interval | None, replicates: Sequence[Standing]
) -> ArmVerdict:
    trials = study.trials.filter(pc.field("arm") == name)
    return ArmVerdict(
        arm=name,
        trials=trials.num_rows,
        states=dict(Counter(trials["state"].to_pylist())),
        budget=pc.max(trials["budget"]).as_py(),
        searched=_searched(trials),
        best=searched.by_arm.get(name),
        optimism=optimism,
        replicates=tuple(replicates),
    )


def _searched(trials: pa.Table) -> tuple[str, ...]:
    columns = [name for name in trials.column_names if name.startswith(PARAMETER)]
    paths = [name.removeprefix(PARAMETER) for name in columns if trials[name].null_count < trials.num_rows]
    return tuple(sorted(path for path in paths if path != REPLICATE))


def _optimism(study: Study, arms: Sequence[str]) -> dict[str, Interval]:
    """Of the arms that chose among several finished trials of one seed."""
    candidates = {arm: _candidates(study, arm) for arm in arms}
    counts = image_counts(study, [name for names in candidates.values() for name in names], study.evaluation)
    counted_ones = {arm: [name for name in names if name in counts.trials] for arm, names in candidates.items()}
    return {
        arm: statistics.selection_optimism(counts.only(names).counts)
        for arm, names in counted_ones.items()
        if len(names) > 1
    }


def _candidates(study: Study, arm: str) -> list[TrialName]:
    runs = sorted(finished(study, arm), key=lambda run: -run.row[study.objective])[:CANDIDATES]
    return [run.name for run in runs] if len({run.seeds for run in runs}) == 1 else []


def _answer(judged: Standings) -> Iterator[str]:
    """Of the settings with several seeds, or else of the search's."""
    if judged.baseline is None:
        yield "there is no baseline to be better than: no arm is named baseline, or has no method and uniform weighting"
        return
    if not judged.compared:
        yield f"nothing can be said yet: no finished setting can be compared with a finished {judged.baseline}"
        return
    if judged.seeds < 2:
        yield "no method can be called better: each setting was run with one seed, and seeds differ too"
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
        yield answer(judged.lead.first, judged.lead.second, judged.lead.difference, SPLIT)


def _against(standing: Standing, judged: Standings) -> str:
    found, base = standing.difference, judged.by_arm[judged.baseline or ""]
    assert found is not None and standing.p_value is not None
    told = (
        f"{standing.name} against {base.name}: {found.estimate:+.2f} points {ends(found)} on {SPLIT} ({evidence(found)}"
    )
    if found.seeds > 1:
        told += f"; p {standing.p_value:.3f}, adjusted for {counted(len(judged.compared), 'comparison')}"
    told += ")"
    if found.low <= 0 <= found.high:
        told += f"; the smallest difference that this could have shown is {found.detectable:.2f}"
    return f"{told}; {settings(standing.parameters)}" if standing.parameters else told


def _flattery(arms: Sequence[ArmVerdict]) -> Iterator[str]:
    told = [f"{arm.arm} {arm.optimism.estimate:.2f} (of {arm.optimism.n})" for arm in arms if arm.optimism]
    if told:
        yield (
            "being chosen as the best on the images that score it flatters a trial by about so many points: "
            f"{', '.join(told)}; what luck with the seed adds is not in this"
        )


def _missing_runs(study: Study, searched: Standings, again: Standings | None) -> Iterator[str]:
    """What the runs lack that were judged."""
    if max(searched.seeds, again.seeds if again else 0) < 2:
        yield f"runs with other seeds: kdstudy replicate {study.folder} --top 3 --seeds 5"
    yield f"a score on images that the search has not seen: all mIoU is of {SPLIT}, on which it chose"
    if study.dataset in FILMED:
        what = f"those of {study.dataset}'s {SPLIT} are {FILMED[study.dataset]}"
        yield f"independent images: {what} and alike, so intervals over images are too narrow for others"
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

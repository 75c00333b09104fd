"""Which method, with which settings, is really better, and how sure are we? The answer of one study's tables.

A search answers it badly: the best of many trials is chosen on the images that score it, and every setting was run with
one seed. So what the search found is told with how much the choice flatters it, and only replicates on new seeds, where
DIR/replicate holds them, may call a method better. Several arms against one baseline are several questions: p values
are adjusted with Holm's method; intervals are at 95 % each and not adjusted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from analysis import statistics
from analysis.comparison import SPLIT, compare_runs
from analysis.evidence import Evaluation, image_counts
from analysis.runs import Run, best_runs, finished
from analysis.sentences import chance, counted, ends, evidence, plain, signed
from analysis.statistics import Difference, Interval
from analysis.studies import PARAMETER, Study, open_study

CANDIDATES = 100
"""Trials of an arm whose choice is resampled: the best ones, as no other would be chosen on other images."""
LEVEL = 0.05
"""Of the whole family of comparisons with the baseline."""


@dataclass(frozen=True)
class Standing:
    """A setting of a study, with its evidence.

    Attributes:
        arm: of the search.
        name: of the trial, or of the replicated arm.
        parameters: what was searched, by path.
        miou_percent: by the study's objective; the mean over runs where there are several.
        difference: to the baseline, in points; None for the baseline, and where it cannot be told.
        p_value: that of `difference`, adjusted for all comparisons of its kind (Holm).
    """

    arm: str
    name: str
    parameters: Mapping[str, Any]
    miou_percent: Interval
    difference: Difference | None
    p_value: float | None


@dataclass(frozen=True)
class ArmVerdict:
    """One arm of the search.

    Attributes:
        arm: its name.
        trials: that ended.
        states: trials by state.
        budget: iterations of a whole trial.
        best: the best setting that finished; None where none has.
        optimism: points by which choosing the best among the finished trials flatters it; None with one of them.
        replicates: settings of this arm on new seeds.
    """

    arm: str
    trials: int
    states: Mapping[str, int]
    budget: int
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
        evaluation: what the search maximised: mIoU of the `last` or `best` evaluation.
        baseline: the arm that others are held against; None where there is none.
        arms: by name.
        answer: in sentences, the most important first.
        missing: what the evidence lacks, in sentences.
    """

    study: str
    dataset: str
    split: str
    evaluation: Evaluation
    baseline: str | None
    arms: tuple[ArmVerdict, ...]
    answer: tuple[str, ...]
    missing: tuple[str, ...]


def verdict(study: Study) -> Verdict:
    """What a study shows, and what it does not.

    Raises:
        ValueError: trials of the study were evaluated on different images.
    """
    names = sorted(set(study.trials["arm"].to_pylist()))
    baseline = baseline_arm(study)
    searched = _standings(study, {name: name for name in names}, baseline)
    repeated = _replicates(study, names, baseline)
    arms = tuple(_arm(study, name, searched.get(name), repeated) for name in names)
    return Verdict(
        study=study.name,
        dataset=study.dataset,
        split=SPLIT,
        evaluation="best" if study.objective == "best_miou_percent" else "last",
        baseline=baseline,
        arms=arms,
        answer=tuple(_answer(arms, baseline)),
        missing=tuple(_missing(study, arms)),
    )


def baseline_arm(study: Study) -> str | None:
    """The arm named `baseline`, or the first of `study.json` that has no methods and uniform weighting."""
    arms: Mapping[str, Mapping[str, Any]] = study.config.get("arms", {})
    plainly = [
        name
        for name, arm in arms.items()
        if not arm.get("methods") and arm.get("task", {}).get("weighting", "uniform") == "uniform"
    ]
    return "baseline" if "baseline" in arms else next(iter(plainly), None)


def _standings(study: Study, arms: Mapping[str, str], baseline: str | None) -> dict[str, Standing]:
    """The best setting of each arm, held against that of the baseline.

    Args:
        study: the search, or its replicates.
        arms: the arms of `study`, each with the arm of the search that it belongs to.
        baseline: an arm of `study`.
    """
    best = {name: found for name in arms if (found := best_runs(study, name)) is not None}
    base = best.get(baseline or "")
    compared = {
        name: compare_runs(runs, base).difference
        for name, runs in best.items()
        if base is not None and runs is not base
    }
    adjusted = dict(zip(compared, statistics.holm([d.p_value for d in compared.values()]), strict=True))
    return {
        name: Standing(
            arm=arms[name],
            name=runs.name,
            parameters=_parameters(runs.runs[0]),
            miou_percent=statistics.mean_over_seeds(runs.scores),
            difference=compared.get(name),
            p_value=adjusted.get(name),
        )
        for name, runs in best.items()
    }


def _parameters(run: Run) -> dict[str, Any]:
    return {n.removeprefix(PARAMETER): v for n, v in run.row.items() if n.startswith(PARAMETER) and v is not None}


def _replicates(study: Study, names: Sequence[str], baseline: str | None) -> dict[str, Standing]:
    folder = study.folder / "replicate"
    if not (folder / "study.json").is_file():
        return {}
    try:
        again = open_study(folder)
    except ValueError:  # none has ended yet
        return {}
    arms = {name: _search_arm(name, names) for name in sorted(set(again.trials["arm"].to_pylist()))}
    base = next((name for name, arm in arms.items() if arm == baseline), None)
    return _standings(again, {name: arm for name, arm in arms.items() if arm}, base)


def _search_arm(name: str, names: Sequence[str]) -> str:
    """The arm of the search whose trial ARM-N, or whose own settings, a replicated arm repeats."""
    arm, _, number = name.rpartition("-")
    return name if name in names else arm if arm in names and number.isdigit() else ""


def _arm(study: Study, name: str, best: Standing | None, repeated: Mapping[str, Standing]) -> ArmVerdict:
    trials = study.trials.filter(pc.field("arm") == name)
    states = Counter(trials["state"].to_pylist())
    return ArmVerdict(
        arm=name,
        trials=trials.num_rows,
        states=dict(states),
        budget=pc.max(trials["budget"]).as_py(),
        best=best,
        optimism=_optimism(study, name),
        replicates=tuple(standing for standing in repeated.values() if standing.arm == name),
    )


def _optimism(study: Study, arm: str) -> Interval | None:
    runs = sorted(finished(study, arm), key=lambda run: -run.row[study.objective])[:CANDIDATES]
    if len(runs) < 2 or len({run.seeds for run in runs}) > 1:
        return None
    evaluation: Evaluation = "best" if study.objective == "best_miou_percent" else "last"
    counts = image_counts(study, [run.name for run in runs], evaluation).counts
    return statistics.selection_optimism(counts) if len(counts) > 1 else None


def _answer(arms: Sequence[ArmVerdict], baseline: str | None) -> list[str]:
    if baseline is None:
        return ["there is no baseline: no arm is named baseline or trains without methods and weighting; add one"]
    repeated = [standing for arm in arms for standing in arm.replicates if standing.difference]
    if repeated:
        return [_replicated(standing, baseline, len(repeated)) for standing in repeated]
    searched = [arm for arm in arms if arm.best and arm.best.difference]
    return ["on one seed no method can be called better", *(_searched(arm, baseline) for arm in searched)]


def _replicated(standing: Standing, baseline: str, among: int) -> str:
    found = standing.difference
    assert found is not None and standing.p_value is not None
    told = f"{signed(found.estimate)} points {ends(found, signed)} over {evidence(found)}"
    adjusted = f"p {standing.p_value:.3f} adjusted for {counted(among, 'comparison')}"
    if standing.p_value > LEVEL:
        return (
            f"{standing.name} is not shown to differ from {baseline}: {told}, {adjusted}; "
            f"a difference of {plain(found.detectable)} would have been seen"
        )
    return f"{standing.name} is {'better' if found.estimate > 0 else 'worse'} than {baseline}: {told}, {adjusted}"


def _searched(arm: ArmVerdict, baseline: str) -> str:
    assert arm.best is not None and arm.best.difference is not None
    found = arm.best.difference
    flattered = (
        ""
        if arm.optimism is None
        else f"; the choice among {arm.optimism.n} flatters it by about {plain(arm.optimism.estimate)}"
    )
    return (
        f"{arm.best.name} against {baseline}: {signed(found.estimate)} points {ends(found, signed)} "
        f"over {evidence(found)}, better with chance {chance(found.chance)} on images like these{flattered}"
    )


def _missing(study: Study, arms: Sequence[ArmVerdict]) -> list[str]:
    said = []
    if not any(arm.replicates for arm in arms):
        said.append(f"one seed: run kdstudy replicate {study.folder} --top 3 --seeds 5")
    said.append(f"{SPLIT} is the split on which the search chose")
    for arm in arms:
        complete = arm.states.get("COMPLETE", 0)
        said.append(
            f"{arm.arm}: {complete} of {counted(arm.trials, 'trial')} finished, "
            f"{arm.states.get('PRUNED', 0)} stopped early, {arm.states.get('FAIL', 0)} failed"
        )
    return said

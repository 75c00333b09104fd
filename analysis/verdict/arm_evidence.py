"""The arms of a search, each with all that a verdict can rest on: trials, choice, replicates, other images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis import statistics
from analysis.statistics import Interval
from analysis.studies.image_counts import TrialName, image_counts
from analysis.studies.parameters import searched
from analysis.studies.runs import finished, read_runs
from analysis.studies.study import Study, open_study
from analysis.verdict.ranking import REPLICATE, Standing, Standings, searched_values, standings

CANDIDATES = 100
"""Trials of an arm whose choice is resampled: its best, as others would not be chosen on other images either."""


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
            nothing was chosen. Where trials were stopped early it is a lower bound, as they were among the choice too.
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

    @property
    def optimism_is_bound(self) -> bool:
        """Whether the choice was also among trials that were stopped early, which `optimism` does not know."""
        return self.states.get("PRUNED", 0) > 0


@dataclass(frozen=True)
class Rescored:
    """What a trial of the search or of its replicates scored on images that the search has not seen.

    Attributes:
        name: of the trial.
        split: whose images.
        images: how many.
        miou_percent: there.
        cost_trials: of the trial, in whole trials of the plain student; None where there are no prices.
    """

    name: str
    split: str
    images: int
    miou_percent: float
    cost_trials: float | None = None


def arm_verdicts(study: Study, search: Standings, again: Standings | None) -> tuple[ArmVerdict, ...]:
    """Every arm of a study, by name.

    Args:
        study: the search.
        search: its standings.
        again: those of its replicates.
    """
    names = sorted(set(study.trials["arm"].to_pylist()))
    optimism = _optimism(study, names)
    return tuple(_arm(study, name, search.by_arm.get(name), optimism.get(name), again) for name in names)


def _arm(
    study: Study, name: str, best: Standing | None, optimism: Interval | None, again: Standings | None
) -> ArmVerdict:
    trials = _of(study.trials, name)
    return ArmVerdict(
        arm=name,
        trials=trials.num_rows,
        states=dict(Counter(trials["state"].to_pylist())),
        budget=pc.max(trials["budget"]).as_py(),
        searched=_searched(trials),
        best=best,
        optimism=optimism,
        replicates=tuple(standing for standing in again.by_arm.values() if standing.arm == name) if again else (),
    )


def replicates(study: Study, rescored_on: str | None = None, *, first_seeds: int | None = None) -> Standings | None:
    """The settings in DIR/replicate, each with the arm and the parameters that it had in the search.

    None where that holds no study, or none of which a trial has ended.

    Args:
        study: the search.
        rescored_on: a split on which checkpoints of the replicates were judged again.
        first_seeds: as if so many seeds had been planned and no others trained; all where None.
    """
    again = _replicated(study)
    if again is None:
        return None
    found = standings(again, rescored_on, first_seeds=first_seeds)
    sources: Mapping[str, Mapping[str, Any]] = again.config.get("replicates", {})
    return replace(found, by_arm={arm: _sourced(study, s, sources.get(arm)) for arm, s in found.by_arm.items()})


def _replicated(study: Study) -> Study | None:
    folder = study.folder / REPLICATE
    if not (folder / "study.json").is_file():
        return None
    try:
        return open_study(folder)
    except ValueError:
        return None


def _sourced(study: Study, standing: Standing, source: Mapping[str, Any] | None) -> Standing:
    if source is None:
        return standing
    rows = _of(study.trials, source["arm"]).filter(pc.field("trial") == source["trial"]).to_pylist()
    return replace(standing, arm=source["arm"], parameters=searched_values(rows[0]) if rows else {})


def rescored_trials(study: Study) -> tuple[Rescored, ...]:
    """Of the splits that the search has not seen, as `kdstudy rescore` has found it, the best of each first."""
    places = (study, _replicated(study))
    found = [one for place in places if place for one in _rescored(place) if one.split not in (study.split, "train")]
    return tuple(sorted(found, key=lambda one: (one.split, -one.miou_percent)))


def _rescored(study: Study) -> list[Rescored]:
    try:
        rows = study.table("rescored").to_pylist()
    except FileNotFoundError:
        return []
    costs = {(row["arm"], row["trial"]): row["cost_trials"] for row in study.ended.to_pylist()}
    return [
        Rescored(
            name=str(TrialName(row["arm"], row["trial"])),
            split=row["split"],
            images=row["images"],
            miou_percent=row["miou_percent"],
            cost_trials=costs.get((row["arm"], row["trial"])),
        )
        for row in rows
    ]


def _searched(trials: pa.Table) -> tuple[str, ...]:
    return tuple(sorted(path for path in searched(trials) if path != REPLICATE))


def _optimism(study: Study, arms: Sequence[str]) -> dict[str, Interval]:
    """Of the arms that chose among several finished trials of one seed; `n` is how many."""
    candidates = {arm: _candidates(study, arm) for arm in arms}
    counts = image_counts(study, [name for names in candidates.values() for name in names], study.evaluation)
    there = set(counts.trials)
    found = {}
    for arm, names in candidates.items():
        whole = [name for name in names if name in there]
        if len(whole) > 1:
            optimism = statistics.selection_optimism(counts.only(whole).counts)
            found[arm] = replace(optimism, n=finished(study, arm).num_rows)
    return found


def _candidates(study: Study, arm: str) -> list[TrialName]:
    runs = read_runs(finished(study, arm).slice(0, CANDIDATES))
    return [run.name for run in runs] if len({run.seeds for run in runs}) == 1 else []


def _of(trials: pa.Table, arm: str) -> pa.Table:
    return trials.filter(pc.field("arm") == arm)

"""Were the arms of a study tuned equally, and how well was each: what it spent, searched, gained, and left undone.

Read from the trials, the reports and the spaces that the study keeps. Costs are those of the trials table: iterations
at the price of each arm, in whole trials of the plain student, whatever it took in seconds. Arms that repeat a setting
with other seeds were not tuned and are left out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies.parameters import label, searched, written
from analysis.studies.runs import finished
from analysis.studies.study import Study
from study.tables import parameters_of

COUNTED = ["COMPLETE", "PRUNED"]
"""States of trials that count in a budget; the failed ones were replaced."""
UNEQUAL_PERCENT = 20.0
"""Spends that differ by more are not equal cost."""
FORMER_RULES = 1
"""What a study's `tuning_rules` are, or would be, that began before costs were priced."""
REPLICATE = "replicate"
"""The parameter that numbers the seeds of an arm that searches nothing."""
EDGE = 0.05
"""Share of a range at each of its ends that counts as its edge."""
LATE, STILL_RISING = 0.8, 0.5
"""From this share of its iterations on a curve may rise by so many points and still count as flat."""
OWN = ("task/", "methods/")
"""What the paths of an arm's own parameters begin with; all others are shared by trials of every arm."""


@dataclass(frozen=True)
class Edge:
    """A parameter whose best value lies at an end of its range."""

    path: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{label(self.path)} {written(self.value)} of [{written(self.low)}, {written(self.high)}]"


@dataclass(frozen=True)
class ArmTuning:
    """The tuning of one arm that searches.

    Attributes:
        arm: its name.
        trials: that ended COMPLETE or PRUNED; they are what was spent.
        complete: of these, the ones that used their whole budget.
        startup: of these, the ones before the sampler learned from others.
        spent: in whole trials of the plain student; None where the study has no prices.
        seconds: that all its trials took in truth, however they ended.
        searched: paths in its spaces; where the study does not have these, those that its trials have.
        at_defaults: mIoU in percent of the spaces' defaults, by the study's objective; None where they did not finish.
        tuned: that of its best finished trial; None where none has finished.
        edges: where the best trial lies at the edge of a range.
        rise: points that the best trial's curve rose in its last fifth, where its last evaluation was its best one and
            the rise is above STILL_RISING; None for another, and where there are too few evaluations.
    """

    arm: str
    trials: int
    complete: int
    startup: int
    spent: float | None
    seconds: float
    searched: tuple[str, ...]
    at_defaults: float | None
    tuned: float | None
    edges: tuple[Edge, ...]
    rise: float | None

    @property
    def gain(self) -> float | None:
        """Points that tuning gave over the defaults."""
        return None if self.tuned is None or self.at_defaults is None else self.tuned - self.at_defaults


def arm_tunings(study: Study) -> tuple[ArmTuning, ...]:
    """Every arm that searches and of which a trial has ended, in the study's order."""
    arms: Mapping[str, Mapping[str, Any]] = study.config.get("arms", {})
    there = sorted(set(study.trials["arm"].to_pylist()))
    ordered = [*(name for name in arms if name in there), *(name for name in there if name not in arms)]
    return tuple(tuning for arm in ordered if (tuning := _tuning(study, arm)).searched)


def _tuning(study: Study, arm: str) -> ArmTuning:
    rows = study.trials.filter(pc.field("arm") == arm)
    counted = rows.filter(pc.field("state").isin(COUNTED))
    states = Counter(rows["state"].to_pylist())
    best = next(iter(finished(study, arm).slice(0, 1).to_pylist()), None)
    entries = space_entries(study, arm)
    return ArmTuning(
        arm=arm,
        trials=counted.num_rows,
        complete=states["COMPLETE"],
        startup=min(counted.num_rows, int(study.config.get("startup_trials", 0))),
        spent=spent_trials(rows),
        seconds=pc.sum(rows["seconds"]).as_py() or 0.0,
        searched=tuple(sorted(entries)) or tuple(path for path in searched(rows) if path != REPLICATE),
        at_defaults=_at_defaults(study, arm, entries),
        tuned=None if best is None else best[study.objective],
        edges=() if best is None else tuple(_edges(best, entries)),
        rise=None if best is None else _rise(study, best),
    )


def space_entries(study: Study, arm: str) -> dict[str, Mapping[str, Any]]:
    """What an arm searches, by path, as the study's files of spaces said when it began."""
    spaces: Mapping[str, Mapping[str, Any]] = study.config.get("spaces", {})
    arms: Mapping[str, Mapping[str, Any]] = study.config.get("arms", {})
    names: Sequence[str] = arms.get(arm, {}).get("space", ())
    return {path: entry for name in names for path, entry in spaces.get(name, {}).items()}


def spent_trials(trials: pa.Table) -> float | None:
    """What the trials that did not fail cost, in whole trials of the plain student; None where there are no prices."""
    costs = trials.filter(pc.field("state").isin(COUNTED))["cost_trials"]
    if costs.null_count or trials["cost_trials"].null_count == trials.num_rows:
        return None
    return float(pc.sum(costs).as_py() or 0.0)


def _at_defaults(study: Study, arm: str, entries: Mapping[str, Mapping[str, Any]]) -> float | None:
    for row in finished(study, arm).to_pylist():
        values = parameters_of(row)
        if values and all(value == entries.get(path, {}).get("default") for path, value in values.items()):
            return float(row[study.objective])
    return None


def _edges(row: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> Iterator[Edge]:
    for path, value in parameters_of(row).items():
        entry = entries.get(path, {})
        if entry.get("type") not in ("float", "int"):
            continue
        low, high = float(entry["low"]), float(entry["high"])
        scale = math.log if entry.get("log") else float
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        if min(share, 1 - share) <= EDGE:
            yield Edge(path, value, low, high)


def _rise(study: Study, row: Mapping[str, Any]) -> float | None:
    here = (pc.field("arm") == row["arm"]) & (pc.field("trial") == row["trial"])
    try:
        curve = study.table("reports", ["iteration", "miou_percent"], here).sort_by("iteration").to_pylist()
    except FileNotFoundError:  # none was written yet, or none can be read
        return None
    scores = {point["iteration"]: point["miou_percent"] for point in curve if point["miou_percent"] is not None}
    last = max(scores, default=0)
    before = [score for iteration, score in scores.items() if iteration <= LATE * last]
    if not before or scores[last] < max(scores.values()):
        return None
    rise = float(scores[last] - max(before))
    return rise if rise > STILL_RISING else None


def tuning_caveats(study: Study, arms: Sequence[ArmTuning]) -> tuple[str, ...]:
    """Why a difference between arms may be one of their tuning, in sentences; `arms` are its `arm_tunings`."""
    if len(arms) < 2:
        return ()
    return (*_unequal_spaces(study, arms), *_unequal_cost(arms))


def _unequal_spaces(study: Study, arms: Sequence[ArmTuning]) -> Iterator[str]:
    for path in sorted({path for arm in arms for path in arm.searched if not path.startswith(OWN)}):
        having = [arm.arm for arm in arms if path in arm.searched]
        without = [arm.arm for arm in arms if path not in arm.searched]
        ranges = {_range(space_entries(study, arm).get(path, {})) for arm in having}
        if without:
            yield f"{', '.join(without)} did not search {path}, which {', '.join(having)} did"
        elif len(ranges) > 1:
            yield f"the arms searched {path} in different ranges"


def _range(entry: Mapping[str, Any]) -> str:
    return repr([entry.get(key) for key in ("type", "low", "high", "log", "step", "choices")])


def _unequal_cost(arms: Sequence[ArmTuning]) -> Iterator[str]:
    if any(arm.spent is None for arm in arms):
        numbers = {arm.trials for arm in arms}
        if len(numbers) > 1:
            yield f"arms had from {min(numbers)} to {max(numbers)} trials, and more trials find better ones"
        return
    spends = {arm.arm: arm.spent or 0.0 for arm in arms}
    least, most = min(spends, key=spends.__getitem__), max(spends, key=spends.__getitem__)
    if spends[most] > spends[least] * (1 + UNEQUAL_PERCENT / 100):
        yield (
            f"not at equal cost: {most} spent {spends[most]:.1f} whole trials of the plain student, and {least} "
            f"{spends[least]:.1f}"
        )


def spending_notes(study: Study, arms: Sequence[ArmTuning]) -> tuple[str, ...]:
    """What each arm's tuning cost and gave, in sentences; and by which rules, where these are former ones."""
    former = (
        "the search began before costs were priced: each arm had a first rung of its own, and was served by its trials"
    )
    rules = () if "tuning_rules" in study.config and study.config["tuning_rules"] > FORMER_RULES else (former,)
    notes = tuple(map(_spending, arms))
    return (*notes, *rules) if notes else ()


def undone_notes(arms: Sequence[ArmTuning]) -> tuple[str, ...]:
    """What each arm's tuning leaves undone, in sentences; not that few trials finished, which a verdict says itself."""
    return tuple(note for arm in arms for note in _undone(arm))


def _spending(arm: ArmTuning) -> str:
    cost = "" if arm.spent is None else f"spent {arm.spent:.2f} whole trials of the plain student: "
    gain = "" if arm.gain is None else f"; tuning gave {arm.gain:+.2f} points over the defaults' {arm.at_defaults:.2f}"
    paths = ", ".join(label(path) for path in arm.searched)
    trials = f"{arm.trials} trials, {arm.startup} of them startup, {arm.complete} finished"
    return f"{arm.arm} {cost}{trials}; searched {paths}{gain}"


def _undone(arm: ArmTuning) -> Iterator[str]:
    if arm.edges:
        yield f"{arm.arm}: the best trial lies at the edge of what was searched, {'; '.join(map(str, arm.edges))}"
    if arm.rise is not None:
        yield f"{arm.arm}: the best trial still rose by {arm.rise:.2f} points in its last fifth; train longer"

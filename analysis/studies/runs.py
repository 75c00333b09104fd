"""Which trials stand for what is named: the runs of one setting, told apart by their seeds alone.

A search runs every setting once, so its best setting has one run. A replicated arm runs one setting with several
seeds, and all of its runs speak for it.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies.constraints import feasible
from analysis.studies.image_counts import TrialName
from analysis.studies.study import PARAMETER, TEACHER, Study, open_study

SEEDS = ("data_seed", "init_seed")
REPLICATE = f"{PARAMETER}replicate"
"""The column of `trials` that numbers the runs of a replicated arm."""
LATER = {"evaluate_on": "val", "holdout": 0.0}
"""What configurations mean that were written before they could say it."""
NEUTRAL = ("probe_every",)
"""Keys of `train` that change no number of a trial but its time and peak memory."""
OUTSIDE = "no finished trial keeps the bounds of the search"
Seeds = tuple[int | None, int | None]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One ended trial: its row of `trials`, and `config` read from it."""

    row: Row
    config: Mapping[str, Any]

    @property
    def name(self) -> TrialName:
        return TrialName(self.row["arm"], self.row["trial"])

    @property
    def seeds(self) -> Seeds:
        """`data_seed` and `init_seed`; None where the row does not tell."""
        return self.config.get("data_seed"), self.config.get("init_seed")

    @property
    def is_whole(self) -> bool:
        """Whether the row tells what the trial trained; rows of the first versions do not."""
        return "task" in self.config

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration without the seeds, and without NEUTRAL keys."""
        train = {key: value for key, value in self.config.get("train", {}).items() if key not in NEUTRAL}
        return {key: value for key, value in {**LATER, **self.config, "train": train}.items() if key not in SEEDS}


@dataclass(frozen=True)
class Runs:
    """Runs of one setting, which differ by seeds alone.

    Attributes:
        study: theirs.
        name: of the trial, `rdd-8`, or of the arm where it has no other setting.
        runs: that finished, in the order of their numbers; at least one, unless all failed.
        chosen_from: finished settings of which this was the best; 1 where nothing was chosen.
        failed: seeds of the runs that failed, and were not run again with success.
    """

    study: Study
    name: str
    runs: tuple[Run, ...]
    chosen_from: int = 1
    failed: tuple[Seeds, ...] = ()

    @property
    def by_seeds(self) -> dict[Seeds, Run]:
        """The first run of each pair of seeds; rows that do not tell their seeds are left out."""
        return {run.seeds: run for run in reversed(self.runs) if None not in run.seeds}

    def of_seeds(self, seeds: Container[Seeds]) -> "Runs":
        """The same setting with its runs of these seeds alone."""
        kept = tuple(run for run in self.runs if run.seeds in seeds)
        return replace(self, runs=kept, failed=tuple(pair for pair in self.failed if pair in seeds))

    @property
    def scores(self) -> list[float]:
        """By the study's objective, in percent."""
        return [run.row[self.study.objective] for run in self.runs]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.runs)


def mean_cost(runs: Sequence[Run]) -> float | None:
    """What one of these runs cost, in whole trials of the plain student; None where one has no price."""
    costs = [cost for run in runs if (cost := run.row["cost_trials"]) is not None]
    return sum(costs) / len(costs) if runs and len(costs) == len(runs) else None


def finished(study: Study, arm: str) -> pa.Table:
    """The rows of an arm's trials that used their whole budget, the best first by the study's objective.

    Those that break a bound of the study's search do not count; the teacher has none.
    """
    rows = study.ended.filter(pc.field("arm") == arm)
    return ranked(rows if arm == TEACHER else rows.filter(feasible(study.config)), study.objective)


def none_finished(study: Study, *arms: str) -> str:
    """Why `finished` has no trial of any of these arms, as a sentence without its capital and its full stop."""
    named = pc.field("arm").isin(pa.array(arms, pa.string()))  # of no arm the type would not be known
    return OUTSIDE if ranked(study.ended.filter(named), study.objective) else "no trial has used its whole budget yet"


def read_runs(rows: pa.Table) -> list[Run]:
    """One run of each row, in their order."""
    return [Run(row, json.loads(row["config"] or "{}")) for row in rows.to_pylist()]


def settings_of(study: Study, arm: str) -> list[Runs]:
    """Every setting of an arm that has a finished run, oldest first; of replicates failed ones too."""
    rows = study.ended.filter((pc.field("arm") == arm) & (pc.field("state") != "PRUNED")).sort_by("trial")
    scored = set(finished(study, arm)["trial"].to_pylist())
    replicated = REPLICATE in rows.column_names and rows[REPLICATE].null_count < rows.num_rows
    groups: dict[str, list[Run]] = {}
    for run in read_runs(rows):
        # rows of an older kdstudy that lack seeds cannot be told to repeat each other
        key = str(run.name) if None in run.seeds else json.dumps(run.settings, sort_keys=True)
        groups.setdefault(key, []).append(run)
    found = [_setting(study, runs, scored) for runs in groups.values()]
    kept = [runs for runs in found if runs.runs or len(runs.failed) > 1 or (runs.failed and replicated)]
    number = len([runs for runs in kept if runs.runs])
    several = len(kept) > 1
    return [replace(runs, name=runs.name if several else _alone(arm, runs), chosen_from=number) for runs in kept]


def _setting(study: Study, runs: Sequence[Run], scored: Container[int]) -> Runs:
    whole = tuple(run for run in runs if run.row["trial"] in scored)
    seeds = {run.seeds for run in whole}
    failed = dict.fromkeys(run.seeds for run in runs if run.row["state"] == "FAIL" and run.seeds not in seeds)
    return Runs(study, str((whole or runs)[0].name), whole, failed=tuple(failed))


def _alone(arm: str, runs: Runs) -> str:
    """The name of an arm's only setting."""
    return runs.name if len(runs.runs) == 1 and not runs.failed else arm


def best_runs(study: Study, arm: str) -> Runs | None:
    """The runs of an arm's best setting by the study's objective, or None where no trial has finished.

    A setting with several runs counts by their mean; of equals the first leads.
    """
    return best_of(settings_of(study, arm))


def best_of(settings: Iterable[Runs]) -> Runs | None:
    """The setting of the highest mean; of equals the first."""
    return max((runs for runs in settings if runs.runs), key=lambda runs: runs.mean, default=None)


def named_runs(text: str) -> Runs:
    """The runs that `DIR`, `DIR:ARM` or `DIR:ARM-N` names: of the best arm, of an arm, or one trial.

    Raises:
        ValueError: there is no such study, arm or trial, or none that finished.
    """
    place, name = (text, "") if Path(text).is_dir() or ":" not in text else text.rsplit(":", 1)
    study = open_study(Path(place))
    arms = sorted(set(study.ended["arm"].to_pylist()))
    if not name:
        return _best_of(study, [arm for arm in arms if arm != TEACHER], text)
    if name in arms:
        return _best_of(study, [name], text)
    arm, _, number = name.rpartition("-")
    if arm not in arms or not number.isdigit():
        raise ValueError(f"{text}: must name an arm or a trial ARM-N of the study; its arms: {', '.join(arms)}")
    return _trial(study, TrialName(arm, int(number)))


def _best_of(study: Study, arms: Sequence[str], text: str) -> Runs:
    found = [best for arm in arms if (best := best_runs(study, arm)) is not None]
    if not found:
        raise ValueError(
            f"{text}: a trial must have used its whole budget and keep all bounds to be compared, but "
            f"{none_finished(study, *arms)}; wait for one, or name a trial that ended: DIR:ARM-N"
        )
    return replace(max(found, key=lambda runs: runs.mean), chosen_from=sum(runs.chosen_from for runs in found))


def _trial(study: Study, name: TrialName) -> Runs:
    rows = study.ended.filter((pc.field("arm") == name.arm) & (pc.field("trial") == name.number))
    if not rows.num_rows:
        raise ValueError(f"{study.folder} must have ended trial {name} to compare it, but has not; see kdstudy status")
    return Runs(study, str(name), tuple(read_runs(rows)))


Pair = tuple[Run, Run]


def pair_runs(a: Runs, b: Runs) -> list[Pair]:
    """Runs of equal seeds, the first of each side where it has several; single runs are a pair whatever their seeds.

    Raises:
        ValueError: no two runs share their seeds.
    """
    if len(a.runs) == len(b.runs) == 1:
        return [(a.runs[0], b.runs[0])]
    mine, yours = a.by_seeds, b.by_seeds
    pairs = [(mine[seeds], yours[seeds]) for seeds in reversed(mine) if seeds in yours]
    if not pairs:
        raise ValueError(
            f"runs must share seeds to be compared, but {a.name} has {_told(a)} and {b.name} has {_told(b)}; "
            "replicate both with the same seeds, or name a single trial of each, DIR:ARM-N"
        )
    return pairs


def _told(side: Runs) -> str:
    return ", ".join(f"data_seed {run.seeds[0]} with init_seed {run.seeds[1]}" for run in side.runs)


def ranked(trials: pa.Table, by: str) -> pa.Table:
    """The finished trials that have a score, the best first; of equals the one that was asked for first."""
    finished = trials.filter((pc.field("state") == "COMPLETE") & pc.field(by).is_valid())
    return finished.sort_by([(by, "descending"), ("trial", "ascending")])

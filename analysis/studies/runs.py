"""Which trials stand for what is named: the runs of one setting, told apart by their seeds alone.

A search runs every setting once, so its best setting has one run. A replicated arm runs one setting with several
seeds, and all of its runs speak for it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies.image_counts import TrialName
from analysis.studies.study import TEACHER, Study, open_study

SEEDS = ("data_seed", "init_seed")
LATER = {"evaluate_on": "val", "holdout": 0.0}
"""What configurations mean that were written before they could say it."""
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
        """The configuration without the seeds."""
        return {key: value for key, value in {**LATER, **self.config}.items() if key not in SEEDS}


@dataclass(frozen=True)
class Runs:
    """Runs of one setting, which differ by seeds alone.

    Attributes:
        study: theirs.
        name: of the trial, `rdd-8`, or of the arm where it has no other setting.
        runs: at least one, in the order of their numbers.
        chosen_from: finished settings of which this was the best; 1 where nothing was chosen.
    """

    study: Study
    name: str
    runs: tuple[Run, ...]
    chosen_from: int = 1

    @property
    def scores(self) -> list[float]:
        """By the study's objective, in percent."""
        return [run.row[self.study.objective] for run in self.runs]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.runs)


def finished(study: Study, arm: str) -> pa.Table:
    """The rows of an arm's trials that used their whole budget, the best first by the study's objective."""
    return ranked(study.ended.filter(pc.field("arm") == arm), study.objective)


def read_runs(rows: pa.Table) -> list[Run]:
    """One run of each row, in their order."""
    return [Run(row, json.loads(row["config"] or "{}")) for row in rows.to_pylist()]


def best_runs(study: Study, arm: str) -> Runs | None:
    """The runs of an arm's best setting by the study's objective, or None where no trial has finished.

    A setting with several runs counts by their mean; of equals the first leads.
    """
    groups: dict[str, list[Run]] = {}
    for run in read_runs(finished(study, arm).sort_by("trial")):
        # rows of an older kdstudy that lack seeds cannot be told to repeat each other
        key = str(run.name) if None in run.seeds else json.dumps(run.settings, sort_keys=True)
        groups.setdefault(key, []).append(run)
    several = len(groups) > 1
    settings = [
        Runs(study, str(runs[0].name) if several or len(runs) == 1 else arm, tuple(runs), len(groups))
        for runs in groups.values()
    ]
    return max(settings, key=lambda runs: runs.mean, default=None)


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


def _best_of(study: Study, arms: Iterable[str], text: str) -> Runs:
    found = [best for arm in arms if (best := best_runs(study, arm)) is not None]
    if not found:
        raise ValueError(
            f"{text}: a trial must have used its whole budget to be compared, but none has; "
            "wait for one, or name a trial that ended: DIR:ARM-N"
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
    mine, yours = ({run.seeds: run for run in reversed(side.runs)} for side in (a, b))
    pairs = [(mine[seeds], yours[seeds]) for seeds in reversed(mine) if seeds in yours and None not in seeds]
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

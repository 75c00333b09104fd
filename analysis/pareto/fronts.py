"""The Pareto fronts of a study: mIoU against what its students and its training take.

A study that searched several objectives has one front, of these together. Any other has one for each cost. Trials of
all arms stand together, because whoever wants a network does not ask which arm it is of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.comparison.wording import counted
from analysis.pareto.front import front, valued
from analysis.studies.constraints import constraints_of, feasible
from analysis.studies.parameters import settings
from analysis.studies.study import Study
from study.measures import COSTS, MIOU, column


@dataclass(frozen=True)
class Front:
    """The front of mIoU and some costs.

    Attributes:
        costs: their names, which are columns of the trials table.
        candidates: rows of the finished trials that keep the study's bounds and have a value of each.
        trials: those of the front, the highest mIoU first.
        trivial: why there is nothing to choose between, as a sentence; None where there is.
    """

    costs: tuple[str, ...]
    candidates: pa.Table
    trials: pa.Table
    trivial: str | None


@dataclass(frozen=True)
class Fronts:
    """The fronts of a study.

    Attributes:
        study: whose.
        fronts: at least one.
        finished: trials that used their whole budget and have an mIoU.
        outside: of them, those that break a bound of the search.
    """

    study: Study
    fronts: tuple[Front, ...]
    finished: int
    outside: int

    @property
    def constraints(self) -> tuple[str, ...]:
        """The bounds of the search."""
        return tuple(map(str, constraints_of(self.study.config)))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Under which latencies were measured; several in a study whose students were timed at several."""
        found = {text for one in self.fronts for text in one.candidates["latency_conditions"].to_pylist() if text}
        return tuple(sorted(found))


def pareto(study: Study, costs: Sequence[str] = ()) -> Fronts:
    """The fronts of a study, which may be running.

    Args:
        study: of which a trial has ended.
        costs: of one front of them all together; none for those that the study searched, and if it searched mIoU
            alone, for one front for each cost.

    Raises:
        ValueError: no trial has ended yet, or there is no such cost.
    """
    if unknown := [name for name in costs if name not in COSTS]:
        raise ValueError(f"--against must be one of {', '.join(COSTS)}, but got {', '.join(unknown)}; choose of these")
    searched = [name for name in study.config.get("search", {}).get("objectives", ()) if name != MIOU]
    together = tuple(dict.fromkeys(costs or searched))
    has_score = (pc.field("state") == "COMPLETE") & pc.field(study.objective).is_valid()
    finished = study.trials.filter(has_score)
    kept = finished.filter(feasible(study.config))
    asked = [together] if together else [(name,) for name in COSTS]
    return Fronts(
        study=study,
        fronts=tuple(_front(study, kept, names, finished.num_rows) for names in asked),
        finished=finished.num_rows,
        outside=finished.num_rows - kept.num_rows,
    )


def _front(study: Study, kept: pa.Table, costs: tuple[str, ...], finished: int) -> Front:
    miou = column(MIOU, study.evaluation)
    candidates = valued(kept, [miou, *costs])
    found = front(candidates, {miou: True, **dict.fromkeys(costs, False)})
    ordered = found.sort_by([(miou, "descending"), ("arm", "ascending"), ("trial", "ascending")])
    return Front(costs, candidates, ordered, _trivial(kept, candidates, costs, finished))


def _trivial(kept: pa.Table, candidates: pa.Table, costs: tuple[str, ...], finished: int) -> str | None:
    """Why a front says no more than which trial is the best."""
    names = ", ".join(costs)
    nothing = f"by {names} there is nothing to choose between"
    if not finished:
        return "no trial has used its whole budget yet, so there is no front"
    if not kept.num_rows:
        return f"{counted(finished, 'trial')} finished, none of which keeps the bounds of the search"
    if not candidates.num_rows:
        return f"no finished trial has a value of {names}, {_recorded(costs)}"
    if candidates.num_rows == 1:
        return f"{nothing}: {_only(candidates.slice(0, 1).to_pylist()[0], finished)}"
    if all(len(set(candidates[name].to_pylist())) == 1 for name in costs):
        return f"{nothing}: it is the same in all {candidates.num_rows} finished trials"
    return None


def _recorded(costs: tuple[str, ...]) -> str:
    """Since when there are values of these costs, and where."""
    listed = ", latency only where all students can be listed" if "latency_ms" in costs else ""
    return f"which are recorded since the study began or not at all; a new study has them{listed}"


def _only(row: Mapping[str, Any], finished: int) -> str:
    name = f"{row['arm']} {row['trial']}"
    if finished == 1:
        return f"{name} is the only finished trial"
    return f"{name} is the only one of {finished} finished trials that keeps the bounds and has a value"


def plain(found: Fronts) -> dict[str, Any]:
    """The fronts as plain values.

    Returns:
        {"folder", "name", "finished", "outside", "constraints", "latency_conditions", "fronts": [{"objectives": names,
        "candidates": their number, "trivial": sentence or None, "trials": [{"arm", "trial", "config_hash",
        "miou_percent", each cost by name, "settings": text}]}]}.
    """
    return {
        "folder": str(found.study.folder),
        "name": found.study.name,
        "finished": found.finished,
        "outside": found.outside,
        "constraints": list(found.constraints),
        "latency_conditions": list(found.conditions),
        "fronts": [
            {
                "objectives": [MIOU, *one.costs],
                "candidates": one.candidates.num_rows,
                "trivial": one.trivial,
                "trials": rows(one, found.study),
            }
            for one in found.fronts
        ],
    }


def rows(one: Front, study: Study) -> list[dict[str, Any]]:
    """The trials of a front as plain values."""
    return [
        {
            "arm": row["arm"],
            "trial": row["trial"],
            "config_hash": row["config_hash"],
            "miou_percent": row[study.objective],
            **{name: row[name] for name in COSTS},
            "settings": settings(row),
        }
        for row in one.trials.to_pylist()
    ]

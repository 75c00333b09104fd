"""Finds a trial of a study by its name, as the command line gives it, or the best one."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from study import tables
from study.configuration.config import TEACHER, StudyConfig
from trainers.registry import nearest


def find_trial(config: StudyConfig, folder: Path, trial: str | None, arm: str | None) -> dict[str, Any]:
    """The trial that is meant, as it stands in the trials table.

    Args:
        config: the study's.
        folder: the study's.
        trial: "ARM-N", or "N" in `arm`; None for the best finished one that keeps the search's bounds, by the study's
            objective.
        arm: where the trial is sought; None for all arms, and for any arm that `trial` names.

    Raises:
        ValueError: no such trial has ended, none keeps the bounds, or a name that is none.
    """
    place = folder / "tables"
    ended = tables.read(place, "trials") if place.is_dir() else None
    if not ended:
        raise ValueError(f"a trial must have ended to be asked for, but none has in {folder}; wait for one")
    if trial is None:
        return _best(config, ended, arm)
    name, _, number = trial.rpartition("-")
    name = name or arm or (next(iter(config.arms)) if len(config.arms) == 1 else "")
    if not name or not number.isdigit() or arm not in (None, name):
        raise ValueError(f"--trial must be ARM-N, or N with --arm ARM, but got {trial!r}; for example rdd-3")
    found = ended.filter((pc.field("arm") == name) & (pc.field("trial") == int(number))).to_pylist()
    if not found:
        arms = ", ".join(sorted(set(ended["arm"].to_pylist())))
        raise ValueError(f"--trial must be a trial that ended, but {name} {number} is none; there are some of {arms}")
    return dict(found[0])


def _best(config: StudyConfig, ended: pa.Table, arm: str | None) -> dict[str, Any]:
    if arm not in (None, TEACHER, *config.arms):
        raise ValueError(f"--arm must be an arm of the study, but got {arm!r}; {nearest(str(arm), config.arms)}")
    in_arm = (pc.field("arm") == arm) if arm else (pc.field("arm") != TEACHER)
    order = [(config.objective_column, "descending"), ("arm", "ascending"), ("trial", "ascending")]
    finished = ended.filter((pc.field("state") == "COMPLETE") & in_arm).sort_by(order).to_pylist()
    of_arm = f" of {arm}" if arm else ""
    if not finished:
        raise ValueError(f"no trial{of_arm} has used its whole budget; name one with --trial ARM-N")
    bounds = () if arm == TEACHER else config.search.bounds
    kept = (row for row in finished if all(bound.keeps(row, config.objective) for bound in bounds))
    if (best := next(kept, None)) is None:
        broken = ", ".join(config.search.constraints)
        raise ValueError(f"no finished trial{of_arm} keeps {broken}; name one with --trial ARM-N")
    return dict(best)

"""Looking again: how often a study was asked for its verdict, and how strict that makes the next answer.

Whoever adds seeds until a method comes out better calls equal methods better in 9 to 15 % of cases. So a study has a
planned number of seeds. What is asked before it is interim and calls nothing better. The look at the planned number is
at a level of 0.04, and the j-th later one at 0.01 / 2^j, which adds up to 0.05 however often one looks. A look is a new
set of finished seeds: the same data give the same answer. Looks are lines of JSON in the study's folder.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.studies.runs import Seeds
from study.tables import LOOKS

PLANNED_LEVEL, LATER_LEVELS = 0.04, 0.01
"""Of the planned look, and what all later ones have together."""
Finished = Mapping[str, Sequence[Seeds]]


@dataclass(frozen=True)
class Look:
    """One look at a study.

    Attributes:
        level: two-sided, of the family of all methods.
        later: looks at the planned number of seeds or more that came before it.
        interim: whether the planned seeds have not all ended.
        recorded: whether it stands in the study's folder; what is not cannot be allowed for next time.
    """

    level: float
    later: int
    interim: bool
    recorded: bool


def look(folder: Path, split: str, finished: Finished, *, interim: bool) -> Look:
    """Look at a study, and record it where it is a new look.

    Args:
        folder: of the study whose runs are judged.
        split: whose images judge them; looks on different ones are different questions.
        finished: the seeds of each setting that have finished.
        interim: whether planned seeds have not ended. Where nothing was planned, the first look is the planned one.
    """
    seeds = {name: sorted([list(pair) for pair in pairs]) for name, pairs in sorted(finished.items())}
    before = list(_read(folder / LOOKS))
    this = {"split": split, "interim": interim, "finished": seeds}
    recorded = this in before or _append(folder / LOOKS, this)
    full = [one for one in before if one["split"] == split and not one["interim"]]
    later = full.index(this) if this in full else len(full)
    return Look(PLANNED_LEVEL if later == 0 else LATER_LEVELS / 2**later, later, interim, recorded)


def planned_look(*, interim: bool) -> Look:
    """The first look at the planned seeds, of what is only imagined: nothing is recorded."""
    return Look(PLANNED_LEVEL, 0, interim, recorded=True)


def _read(place: Path) -> Iterator[dict[str, Any]]:
    """The looks so far; a line that a kill tore is none."""
    try:
        lines = place.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _append(place: Path, one: Mapping[str, Any]) -> bool:
    try:
        torn = place.exists() and not place.read_text().endswith("\n")
        with place.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(one) + "\n")
    except OSError:
        return False
    return True

"""The section of replays: would other early stopping have found as much for less?"""

from typing import Any

import pyarrow as pa

from analysis.figures.drawing import NoFigure
from analysis.figures.replays import replays
from analysis.replay.rank import RungRank
from analysis.replay.replay import ArmReplay, replay
from analysis.replay.view import answers, notes
from analysis.report.section import Section, Table
from analysis.report.source import Source

TITLE = "Early stopping, replayed"
LEGEND = {
    "least, most": "bounds, where stored curves end before the schedule would have stopped a trial",
    "regret": "points by which the best finished trial lies below the best stored one",
    "cost": "of the trials that do not fail, in whole trials of the plain student; in iterations without prices",
    "saved": "of what the study has spent on the arm, in the unit of the cost",
    "winner stopped at": "the iteration at which the trial that was best in truth is surely stopped; 0 where not begun",
}


def replayed(source: Source) -> Section:
    """Every kind of early stopping on the stored curves."""
    try:
        found = replay(source.study)
    except ValueError as unknown:
        return Section(key="replay", title=TITLE, drawings=((NoFigure(f"Nothing is replayed: {unknown}."),),))
    drawn = replays(found.arms, source.arm_colours)
    lists = (("Winners, and ranks", tuple(answers(found))), ("What it rests on", tuple(notes(found))))
    read = (
        "A bar is between the bounds where iterations are missing; a mark whose regret may be any less stands at its "
        "most."
    )
    rows, ranks = _table(list(map(_row, found.arms))), _table(list(map(_rank, found.ranks)))
    tables = (
        Table(name="replays", caption="The arms under each schedule", rows=rows, legend=LEGEND),
        Table(name="ranks", caption="Rank correlation of the rungs with the end", rows=ranks),
    )
    return Section(
        key="replay",
        title=TITLE,
        lists=lists,
        drawings=((drawn,),),
        notes=(read,),
        tables=tuple(table for table in tables if table.rows.num_rows),
    )


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows) if rows else pa.table({})


def _row(arm: ArmReplay) -> dict[str, Any]:
    bounds = {"best mIoU %": arm.best, "regret, points": arm.regret, "cost": arm.cost, "saved": arm.saved,
              "trials": arm.trials, "finished": arm.finished}  # fmt: skip
    ends = {f"{name}, {end}": value for name, one in bounds.items()
            for end, value in (("least", one.low), ("most", one.high))}  # fmt: skip
    numbers = {name: None if value is None else float(value) for name, value in ends.items()}
    return {"arm": arm.arm, "early stopping": str(arm.schedule), **numbers, "winner stopped at": arm.winner_stopped}


def _rank(rank: RungRank) -> dict[str, Any]:
    return {"arm": rank.arm, "iteration": rank.iteration, "trials": rank.trials, "Kendall's tau": rank.tau}

"""Section of the recorded teacher: how many steps read its outputs instead of running it, and what that saved."""

from collections.abc import Iterator
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.report.section import Section, Table
from analysis.report.source import Source
from analysis.studies.study import Study

RECORDED, LIVE = "time/teacher_recorded_steps", "time/teacher_live_steps"
"""Metrics of a report: steps since the report before."""
TRIALS = 500
"""Of which reports are read at once: their metrics are large."""
TITLE = "Recorded teacher"
NONE = "No step read the teacher's outputs from a recording."


def recorded(source: Source) -> Section:
    """Steps with a recorded and with a live teacher, by arm, and an estimate of the seconds that were saved."""
    found = {arm: steps for arm in source.arms if (steps := _steps(source.study, arm)).num_rows}
    rows = [_row(arm, steps) for arm, steps in found.items()]
    if not any(row["recorded steps"] for row in rows):
        return Section(key="recorded", title=TITLE, text=(NONE,))
    text = (
        "A recorded step read the teacher's outputs where an earlier trial had left them; a live one ran the teacher. "
        "No number of a trial depends on which it was.",
        "What was saved is an estimate: recorded steps times the difference between the medians of a live and a "
        "recorded step of the same arm, each over reports all of whose steps were so. It is as good as the trials ran "
        "under like load, and missing where an arm has no report of either kind.",
    )
    table = Table(name="recorded-teacher", caption="Steps by where the teacher's outputs came from", rows=_table(rows))
    return Section(key="recorded", title=TITLE, text=text, tables=(table,))


def _steps(study: Study, arm: str) -> pa.Table:
    """Columns recorded, live and step_ms of an arm's reports that counted them."""
    parts = [part for trials in _trials(study, arm) for part in _parts(study, arm, trials)]
    kinds = [("recorded", pa.float64()), ("live", pa.float64()), ("step_ms", pa.float64())]
    return pa.concat_tables([pa.schema(kinds).empty_table(), *parts])


def _trials(study: Study, arm: str) -> Iterator[list[int]]:
    """Numbers of the trials of an arm whose configuration names a teacher, some at a time."""
    of_arm = study.ended.filter((pc.field("arm") == arm) & pc.match_substring(pc.field("config"), '"teacher":{'))
    numbers = sorted(of_arm["trial"].to_pylist())
    yield from (numbers[first : first + TRIALS] for first in range(0, len(numbers), TRIALS))


def _parts(study: Study, arm: str, trials: list[int]) -> Iterator[pa.Table]:
    where = (pc.field("arm") == arm) & pc.field("trial").isin(trials)
    try:
        reports = study.table("reports", ["step_ms", "metrics"], where)
    except FileNotFoundError:  # none was written yet, or none can be read
        return
    columns = {
        "recorded": pc.map_lookup(reports["metrics"], RECORDED, "first"),
        "live": pc.map_lookup(reports["metrics"], LIVE, "first"),
        "step_ms": reports["step_ms"],
    }
    yield pa.table(columns).filter(pc.is_valid(pc.field("recorded")) & pc.is_valid(pc.field("live")))


def _row(arm: str, steps: pa.Table) -> dict[str, Any]:
    read, ran = (pc.sum(steps[name]).as_py() for name in ("recorded", "live"))
    live_ms = _step_ms(steps.filter(pc.field("recorded") == 0))
    recorded_ms = _step_ms(steps.filter(pc.field("live") == 0))
    return {
        "arm": arm,
        "recorded steps": int(read),
        "live steps": int(ran),
        "recorded %": 100 * read / (read + ran) if read + ran else None,
        "live step, ms": live_ms,
        "recorded step, ms": recorded_ms,
        "seconds saved, estimated": _saved(read, live_ms, recorded_ms),
    }


def _saved(steps: float, live_ms: float | None, recorded_ms: float | None) -> float | None:
    return None if live_ms is None or recorded_ms is None else steps * (live_ms - recorded_ms) / 1000


def _step_ms(steps: pa.Table) -> float | None:
    """The median; None where there is none."""
    times = steps["step_ms"].drop_null().to_pylist()
    return median(times) if times else None


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    texts, counts = {"arm": pa.string()}, {"recorded steps": pa.int64(), "live steps": pa.int64()}
    return pa.Table.from_pylist(rows, pa.schema([(n, {**texts, **counts}.get(n, pa.float64())) for n in rows[0]]))

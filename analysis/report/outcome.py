"""Sections of what came out: the summary, the best configurations, and how to run the best one again."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.parameters import searched, settings
from analysis.report.section import Section, Table
from analysis.report.source import Source
from analysis.studies import PARAMETER

TOP = 10
LAST, BEST = "val mIoU %, last evaluation", "val mIoU %, best evaluation"


def summary(source: Source) -> Section:
    """What was compared, what came out best, and the numbers of every arm."""
    study = source.study
    text = [_what(source), _leader(source)]
    if source.unended:
        text.append(
            f"{len(source.unended)} trials have reported but have not ended: they run, or their driver was killed. "
            "They are in the learning curves and nowhere else."
        )
    arms = Table(name="arms", caption=f"Arms of {study.name}, each by its best finished trial", rows=arm_table(source))
    return Section(key="summary", title="Summary", text=tuple(text), tables=(arms,))


def _what(source: Source) -> str:
    study = source.study
    states = Counter(study.trials["state"].to_pylist())
    return (
        f"{study.name} compares {len(source.arms)} arms on {study.dataset}: {study.trials.num_rows} trials ended, of which "
        f"{states['COMPLETE']} used their whole budget, {states['PRUNED']} were stopped early and {states['FAIL']} failed."
    )


def _leader(source: Source) -> str:
    if not source.best:
        return "No trial has used its whole budget, so there is no best configuration to name."
    arm, row = max(source.best.items(), key=lambda found: found[1][source.objective])
    finished = source.ranked(arm).num_rows
    which = "best" if source.objective.startswith("best") else "last"
    return (
        f"The highest mIoU of a finished trial is {row[source.objective]:.2f} % ({arm} {row['trial']}, {which} evaluation, the best of "
        f"{finished} finished trials of its arm). It was chosen on the images it is measured on, so it is optimistic."
    )


def arm_table(source: Source) -> pa.Table:
    """One row for each arm, and one for the teacher."""
    rows = [_arm_row(source, arm) for arm in source.arms]
    if source.study.teacher:
        rows.append({"arm": "teacher", LAST: source.study.teacher["miou_percent"]})
    names = ["arm", "trials", "whole budget", "stopped early", "failed", "best trial"]
    kinds = [pa.string(), *[pa.int64()] * 4, pa.string(), *[pa.float64()] * 3]
    return pa.Table.from_pylist(rows, pa.schema(list(zip([*names, LAST, BEST, "trial-seconds"], kinds, strict=True))))


def _arm_row(source: Source, arm: str) -> dict[str, Any]:
    mine = source.study.trials.filter(pc.field("arm") == arm)
    states = Counter(mine["state"].to_pylist())
    best = source.best.get(arm, {})
    return {
        "arm": arm,
        "trials": mine.num_rows,
        "whole budget": states["COMPLETE"],
        "stopped early": states["PRUNED"],
        "failed": states["FAIL"],
        "best trial": f"{arm}-{best['trial']}" if best else None,
        LAST: best.get("last_miou_percent"),
        BEST: best.get("best_miou_percent"),
        "trial-seconds": pc.sum(mine["seconds"]).as_py(),
    }


def configurations(source: Source) -> Section:
    """The best finished trials of every arm with all their parameters, and all trials."""
    first = pa.concat_tables([source.ranked(arm).slice(0, TOP) for arm in source.arms] or [source.study.trials.slice(0, 0)])
    caption = f"The best finished trials of each arm, at most {TOP}, with every searched parameter"
    tables = [Table(name="best", caption=caption, rows=_with_parameters(first))] if first else []
    if source.study.trials:
        ended = source.study.trials.sort_by([("arm", "ascending"), ("trial", "ascending")])
        tables.append(Table(name="trials", caption="Every ended trial", rows=_with_parameters(ended)))
    text = () if first else ("No trial has used its whole budget yet.",)
    return Section(key="configurations", title="Best configurations", text=text, tables=tuple(tables))


def _with_parameters(trials: pa.Table) -> pa.Table:
    renamed = {
        "arm": "arm", "trial": "trial", "state": "state", "iterations": "iterations", "last_miou_percent": LAST,
        "best_miou_percent": BEST, "best_iteration": "iteration of the best", "seconds": "trial-seconds",
    }  # fmt: skip
    paths = searched(trials)
    columns = [*(trials[name] for name in renamed), *(trials[PARAMETER + path] for path in paths)]
    return pa.table(columns, names=[*renamed.values(), *paths])


def again(source: Source) -> Section:
    """The commands that run the best trial of each arm once more."""
    if not source.best:
        return Section(key="again", title="Run the best again", text=("No trial has used its whole budget yet.",))
    folder = shlex.quote(str(source.study.folder))
    rows = sorted(source.best.values(), key=lambda row: -row[source.objective])
    commands = tuple((_what_row(row, source.objective), _command(folder, row)) for row in rows)
    text = (
        "Each command trains a trial again, from its configuration in the trials table: same data order, same initial "
        "weights, same settings. Other hardware and library versions may change the last digits.",
    )
    verbatim = tuple((f"Configuration of {arm} {row['trial']}", _indented(row["config"])) for arm, row in source.best.items())
    return Section(key="again", title="Run the best again", text=text, commands=commands, verbatim=verbatim)


def _command(folder: str, row: Mapping[str, Any]) -> str:
    return f"kdstudy train {folder} --trial {row['arm']}-{row['trial']}"


def _what_row(row: Mapping[str, Any], objective: str) -> str:
    searched_values = settings(dict(row)) or "nothing searched"
    return f"{row['arm']} {row['trial']}: {row[objective]:.2f} %, {searched_values}"


def _indented(config: str) -> str:
    return json.dumps(json.loads(config), indent=2)

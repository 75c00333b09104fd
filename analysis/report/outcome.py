"""Sections of what came out: summary, verdict, the best configurations, and how to run the best one again."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.comparison.wording import counted
from analysis.report.section import COST, COSTS, SPENT, Section, Table
from analysis.report.source import Source
from analysis.studies.parameters import searched, settings
from analysis.studies.study import PARAMETER
from analysis.tuning import spent_trials
from analysis.verdict.arm_evidence import ArmVerdict, Rescored
from analysis.verdict.ranking import Standing

TOP, SHOWN = 10, 24
"""Best trials of an arm, and of all arms together, but one of each at least."""
LAST, BEST = "mIoU %, last evaluation", "mIoU %, best evaluation"
ENDINGS = {"COMPLETE": "used their whole budget", "PRUNED": "stopped early", "FAIL": "with an error"}
STANDING = pa.schema(
    [
        ("setting", pa.string()),
        ("mIoU %", pa.float64()),
        ("minus baseline, points", pa.float64()),
        ("from, points", pa.float64()),
        ("to, points", pa.float64()),
        (COST, pa.float64()),
        ("shown", pa.string()),
        ("p, adjusted", pa.float64()),
        ("could have shown, points", pa.float64()),
        ("seeds", pa.int64()),
        ("failed seeds", pa.int64()),
        ("images", pa.int64()),
        ("runs", pa.int64()),
        ("chosen among", pa.int64()),
        ("flattered by, points", pa.float64()),
    ]
)
"""Columns of the verdict's table."""
STANDING_LEGEND = {
    COST: COSTS[COST],
    "runs": "runs whose mean the mIoU is",
    "from, to": "ends of the interval; all intervals of the table hold together",
    "p, adjusted": "how often a difference like it would come by chance, adjusted for the number of comparisons",
    "shown": "what the interval shows: better, worse, no different by more than the study's margin, or open",
    "could have shown": "the smallest true difference that such seeds and images show in 80 % of studies",
    "chosen among": "finished settings of the arm, of which this was the best on the images that score it",
    "flattered by": "points by which being chosen on these images raises its score",
}
RESCORED = pa.schema(
    [
        ("trial", pa.string()),
        ("mIoU %", pa.float64()),
        (COST, pa.float64()),
        ("split", pa.string()),
        ("images", pa.int64()),
    ]
)
ARMS = pa.schema(
    [
        ("arm", pa.string()),
        (LAST, pa.float64()),
        (BEST, pa.float64()),
        (SPENT, pa.float64()),
        ("trial-seconds", pa.float64()),
        ("GPU-seconds", pa.float64()),
        ("best trial", pa.string()),
        ("trials", pa.int64()),
        *((state, pa.int64()) for state in ENDINGS),
    ]
)
ARMS_LEGEND = {
    SPENT: COSTS[SPENT],
    "trial-seconds": "seconds of training, evaluation and checkpoints, whatever ran beside",
    **{state: f"trials that {said}" for state, said in ENDINGS.items()},
}


def summary(source: Source) -> Section:
    """What was compared, and the numbers of every arm."""
    text = [_what(source)]
    if source.unended:
        text.append(
            f"{len(source.unended)} trials have reported but have not ended: they run, or their driver was killed. "
            "They are in the learning curves and nowhere else."
        )
    caption = f"Arms of {source.study.name}, each by its best finished trial"
    arms = Table(name="arms", caption=caption, rows=arm_table(source), legend=ARMS_LEGEND)
    return Section(key="summary", title="Summary", text=tuple(text), tables=(arms,))


def _what(source: Source) -> str:
    study = source.study
    states = Counter(study.trials["state"].to_pylist())
    which = ", ".join(f"{states[state]} {state} ({said})" for state, said in ENDINGS.items())
    return (
        f"{counted(len(source.arms), 'arm')} on {study.dataset}. {study.trials.num_rows} trials ended: {which}. "
        f"mIoU is of the split {study.split}."
    )


def conclusion(source: Source) -> Section:
    """What the study shows in numbers, how sure that is, and what the evidence lacks."""
    found = source.verdict
    if isinstance(found, str) or not found.arms:
        return Section(key="verdict", title="Verdict")
    rows = [row for arm in found.arms for row in _standing_rows(arm)]
    caption = (
        "Best setting of each arm against the baseline; intervals hold together for all settings with several seeds, "
        f"and one seed has none: {_seed_noise(found.seed_points)}"
    )
    standings = Table(
        name="verdict", caption=caption, rows=pa.Table.from_pylist(rows, STANDING), legend=STANDING_LEGEND
    )
    lists = (("In detail", found.answer[1:]), ("Tuning", found.tuning), ("What the evidence lacks", found.missing))
    return Section(
        key="verdict",
        title="Verdict",
        lists=tuple((what, said) for what, said in lists if said),
        tables=(*((standings,) if rows else ()), *_rescored(found.rescored)),
    )


def _seed_noise(points: float | None) -> str:
    if points is None:
        return "how much the seed changes is unknown"
    return f"the seed alone changes a difference between two runs by {points:.2f} points (standard deviation)"


def _rescored(found: Sequence[Rescored]) -> tuple[Table, ...]:
    """The scores on images that the search has not seen, where there are some."""
    rows = [
        {"trial": r.name, "mIoU %": r.miou_percent, COST: r.cost_trials, "split": r.split, "images": r.images}
        for r in found
    ]
    caption = "Trials scored again on images that the search has not seen"
    table = pa.Table.from_pylist(rows, RESCORED)
    return (Table(name="rescored", caption=caption, rows=table, legend={COST: COSTS[COST]}),) if rows else ()


def _standing_rows(arm: ArmVerdict) -> Iterator[dict[str, Any]]:
    if arm.best is None:
        return
    flattery = {"flattered by, points": arm.optimism.estimate} if arm.optimism else {}
    yield {**_standing_row(arm.best), **flattery}
    yield from map(_standing_row, arm.replicates)


def _standing_row(standing: Standing) -> dict[str, Any]:
    score, difference = standing.miou_percent, standing.difference
    row = {
        "setting": standing.name,
        "runs": score.n if score else 0,
        "mIoU %": score.estimate if score else None,
        "failed seeds": standing.failed,
        "chosen among": standing.chosen_from,
        COST: standing.cost_trials,
    }
    if difference is None:
        return row
    return {
        **row,
        "minus baseline, points": difference.estimate,
        "from, points": difference.low,
        "to, points": difference.high,
        "images": standing.images,
        "seeds": difference.seeds,
        "p, adjusted": standing.p_value,
        "shown": standing.outcome,
        "could have shown, points": difference.detectable,
    }


def arm_table(source: Source) -> pa.Table:
    """One row for each arm, and one for the teacher."""
    rows = [_arm_row(source, arm) for arm in source.arms]
    if source.study.teacher:
        rows.append({"arm": "teacher", LAST: source.study.teacher["miou_percent"]})
    return pa.Table.from_pylist(rows, ARMS)


def _arm_row(source: Source, arm: str) -> dict[str, Any]:
    mine = source.study.trials.filter(pc.field("arm") == arm)
    states = Counter(mine["state"].to_pylist())
    best = source.best.get(arm, {})
    return {
        "arm": arm,
        "trials": mine.num_rows,
        **{state: states[state] for state in ENDINGS},
        SPENT: spent_trials(mine),
        "GPU-seconds": pc.sum(mine["gpu_seconds"]).as_py(),
        "best trial": f"{arm}-{best['trial']}" if best else None,
        LAST: best.get("last_miou_percent"),
        BEST: best.get("best_miou_percent"),
        "trial-seconds": pc.sum(mine["seconds"]).as_py(),
    }


def configurations(source: Source) -> Section:
    """The best finished trials of every arm with all their parameters, and all trials."""
    none = source.study.trials.slice(0, 0)
    top = max(1, min(TOP, SHOWN // max(1, len(source.arms))))
    first = pa.concat_tables([none, *(source.ranked(arm).slice(0, top) for arm in source.arms)])
    caption = f"The best finished trials of each arm, at most {top}, with every searched parameter"
    legend = {COST: COSTS[COST]}
    tables = [Table(name="best", caption=caption, rows=_configured(first), legend=legend)] if first else []
    if source.study.trials:
        ended = source.study.trials.sort_by([("arm", "ascending"), ("trial", "ascending")])
        rows = _configured(ended, **ENDED)
        every = Table(name="trials", caption="Every ended trial", rows=rows, legend=legend, folded=bool(first))
        tables.append(every)
    text = () if first else (f"{source.none_finished}.",)
    return Section(key="configurations", title="Best configurations", text=text, tables=tuple(tables))


ENDED = {"state": "state", "iterations": "iterations", "best_iteration": "iteration of the best"}
"""What is known of any trial, and says nothing of one that used its whole budget."""


def _configured(trials: pa.Table, **more: str) -> pa.Table:
    """Trials with scores, costs and every searched parameter, and further columns by the names that they get."""
    scores = {"last_miou_percent": LAST, "best_miou_percent": BEST, "cost_trials": COST, "seconds": "trial-seconds"}
    renamed, paths = {**scores, **more}, searched(trials)
    names = pc.binary_join_element_wise(trials["arm"], pc.cast(trials["trial"], pa.string()), "-")
    columns = [names, *(trials[name] for name in renamed), *(trials[PARAMETER + path] for path in paths)]
    return pa.table(columns, names=["trial", *renamed.values(), *paths])


def again(source: Source) -> Section:
    """The commands that run the best trial of each arm once more."""
    if not source.best:
        return Section(key="again", title="Run the best again", text=(f"{source.none_finished}.",))
    folder = shlex.quote(str(source.study.folder))
    rows = sorted(source.best.values(), key=lambda row: -row[source.objective])
    commands = tuple((_what_row(row, source.objective), _command(folder, row)) for row in rows)
    text = (
        "Each command trains a trial again, from its configuration in the trials table: same data order, same initial "
        "weights, same settings. Other hardware and library versions may change the last digits.",
    )
    verbatim = tuple((f"Configuration of {row['arm']} {row['trial']}", _indented(row["config"])) for row in rows)
    return Section(key="again", title="Run the best again", text=text, commands=commands, verbatim=verbatim)


def _command(folder: str, row: Mapping[str, Any]) -> str:
    return f"kdstudy train {folder} --trial {row['arm']}-{row['trial']}"


def _what_row(row: Mapping[str, Any], objective: str) -> str:
    searched_values = settings(dict(row)) or "nothing searched"
    return f"{row['arm']} {row['trial']}: {row[objective]:.2f} %, {searched_values}"


def _indented(config: str) -> str:
    return json.dumps(json.loads(config), indent=2)

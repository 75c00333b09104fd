"""Sections of the search: history, the space, importance, early stopping."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.comparison import importances
from analysis.figures.contour import contour
from analysis.figures.drawing import NoFigure
from analysis.figures.fronts import pareto_front
from analysis.figures.parallel import parallel
from analysis.figures.search import history, slices
from analysis.figures.training import rungs
from analysis.importance import BEST_SHARE, ENOUGH, MOST, Importance, importance
from analysis.pareto.fronts import pareto
from analysis.pareto.fronts import rows as front_rows
from analysis.pareto.view import heading, notes
from analysis.report.section import COSTS, SPENT, Section, Table
from analysis.report.source import Source
from analysis.studies.constraints import constraints_of, feasible
from analysis.studies.parameters import label
from analysis.tuning import ArmTuning, arm_tunings, tuning_caveats

MOST_RUNGS = 8
"""Rungs shown of an arm; a pruner that stops anywhere has more."""
WIDE = 6
"""Arms up to which each has a figure as wide as the page; of more they stand side by side."""
REACHED = "trials that reached it"
NO_TRIAL = NoFigure("No trial of an arm has ended, so there is nothing to draw.")


TUNING = pa.schema(
    [
        ("arm", pa.string()),
        ("mIoU %, defaults", pa.float64()),
        ("mIoU %, tuned", pa.float64()),
        ("gain, points", pa.float64()),
        (SPENT, pa.float64()),
        ("trial-hours", pa.float64()),
        ("trials", pa.int64()),
        ("finished", pa.int64()),
        ("startup", pa.int64()),
        ("searched", pa.string()),
        ("at the edge", pa.string()),
        ("still rising, points", pa.float64()),
    ]
)
"""Columns of the tuning's table."""
TUNING_LEGEND = {
    SPENT: COSTS[SPENT],
    "trial-hours": "what all trials of the arm took in truth, however they ended",
    "startup": "trials before the sampler learned from others",
    "at the edge": "searched values of the best trial at an end of their range, where a wider one may hold better ones",
    "still rising": "points that the best trial's curve rose in its last fifth, where longer training may give more",
}


def tuning(source: Source) -> Section:
    """What the tuning of each arm cost and gave, and whether the arms were tuned equally."""
    found = arm_tunings(source.study)
    caveats = tuning_caveats(source.study, found)
    unequal = "; ".join(caveats) or "nothing says so"
    text = (
        f"Not at equal tuning: {unequal}.",
        "Spent are the iterations of the trials that did not fail, at the price of their arm, in whole trials of the "
        "plain student; hours are what all of them took. An arm's defaults are the first trial of its search.",
    )
    caption = f"The tuning of each arm of {source.study.name} that searches"
    rows = pa.Table.from_pylist([_tuning_row(one) for one in found], TUNING)
    tables = (Table(name="tuning", caption=caption, rows=rows, legend=TUNING_LEGEND),) if found else ()
    return Section(key="tuning", title="Tuning", text=text, tables=tables)


def _tuning_row(found: ArmTuning) -> dict[str, Any]:
    return {
        "arm": found.arm,
        SPENT: found.spent,
        "trial-hours": found.seconds / 3600,
        "trials": found.trials,
        "finished": found.complete,
        "startup": found.startup,
        "searched": ", ".join(map(label, found.searched)),
        "mIoU %, defaults": found.at_defaults,
        "mIoU %, tuned": found.tuned,
        "gain, points": found.gain,
        "at the edge": "; ".join(map(str, found.edges)) or None,
        "still rising, points": found.rise,
    }


def optimisation(source: Source) -> Section:
    """How the search went."""
    config = source.study.config
    drawn = history(source.study.trials, source.objective, source.arm_colours, kept=feasible(config))
    bounded = " and keep the bounds of the search" if constraints_of(config) else ""
    text = (
        f"A line rises only at trials that used their whole budget{bounded}. A trial that was stopped early stands at "
        "its mIoU then, which is low because it trained less.",
    )
    return Section(key="history", title="Optimisation history", text=text, drawings=((drawn,),))


def space(source: Source) -> Section:
    """Where in the space the trials lie."""
    trials, objective = source.study.trials, source.objective
    drawn = tuple(parallel(trials, objective, arm) for arm in source.arms)
    lines = tuple((one,) for one in drawn) if len(drawn) <= WIDE else (drawn,)
    text = ("Bright lines are trials of high mIoU. A parameter that a trial does not have is passed at “off”.",)
    return Section(key="parallel", title="Parallel coordinates", text=text, drawings=lines if drawn else ((NO_TRIAL,),))


def parameters(source: Source) -> Section:
    """mIoU against each parameter."""
    drawn = slices(source.study.trials, source.objective, source.arm_colours)
    text = ("Open marks are trials that were stopped early: compare them with each other, not with full ones.",)
    return Section(key="slices", title="Slices", text=text, drawings=(tuple(drawn),))


def difficulty(source: Source) -> Section:
    """RDD's threshold and TFE fraction together."""
    title = "Threshold t and TFE fraction"
    text = (
        "Between finished trials the surface is a distance-weighted mean of all of them: it shows where trials were "
        "good, not what a trial there would give. Trials that stay in TFE to their end have no t and are not in it.",
    )
    return Section(key="contour", title=title, text=text, drawings=((contour(source.study.trials, source.objective),),))


def importance_of_parameters(source: Source) -> Section:
    """What decided whether a trial was good."""
    found = [importance(source.study.trials, source.reports, arm) for arm in source.arms]
    drawn = tuple(importances(one, source.colours[one.arm]) for one in found)
    rows = [row for one in found for row in _importance_rows(one)]
    text = (
        f"Optuna's conditional PED-ANOVA: how far each parameter's values among the best {BEST_SHARE:.0%} of an arm's "
        f"trials differ from its values among all. Trials are compared at the last iteration that {ENOUGH} of them "
        f"reached, so those stopped early count too; of more than {MOST:,} a random sample is asked. Only parameters "
        "are shown that stand out of what permuted scores give: by chance one is in 5 % of arms. A few dozen trials "
        "give a hint, not a ranking.",
    )
    caption = "Importance of the parameters of each arm"
    tables = (Table(name="importance", caption=caption, rows=pa.Table.from_pylist(rows)),) if rows else ()
    return Section(key="importance", title="Importance", text=text, drawings=(drawn or (NO_TRIAL,),), tables=tables)


def _importance_rows(found: Importance) -> list[dict[str, Any]]:
    about = {"arm": found.arm, "trials": found.trials, "at iteration": found.iteration}
    return [{**about, "parameter": path, "share %": 100 * share} for path, share in found.shares.items()]


def early_stopping(source: Source) -> Section:
    """How many trials reached each rung, and what they had there."""
    trials = source.study.trials
    at = {arm: rungs_of(trials, arm) for arm in source.arms}
    everywhere = {rung for found in at.values() for rung in found}
    reports = source.reports.filter(pc.field("iteration").isin(list(everywhere)))
    rows = [_rung_row(trials, reports, arm, rung) for arm, found in at.items() for rung in found]
    caption = "Rungs: how many trials came there, how many were stopped there, and their mIoU there"
    tables = (Table(name="rungs", caption=caption, rows=pa.Table.from_pylist(rows)),) if rows else ()
    text = (
        "A rung is an iteration at which at least one trial of the arm was stopped. Rungs decide as trials arrive: an "
        "early trial may go on with a value at which a later one is stopped.",
    )
    drawn = rungs(reports, trials, at, source.arm_colours)
    return Section(key="rungs", title="Early stopping", text=text, drawings=((drawn,),), tables=tables)


def rungs_of(trials: pa.Table, arm: str) -> list[int]:
    """The iterations at which trials of an arm were stopped, in order; of many those that stopped most."""
    stopped = trials.filter((pc.field("arm") == arm) & (pc.field("state") == "PRUNED"))
    return sorted(rung for rung, _ in Counter(stopped["iterations"].to_pylist()).most_common(MOST_RUNGS))


def _rung_row(trials: pa.Table, reports: pa.Table, arm: str, rung: int) -> Mapping[str, Any]:
    mine = trials.filter(pc.field("arm") == arm)
    here = reports.filter((pc.field("arm") == arm) & (pc.field("iteration") == rung))
    found: Sequence[float] = here["miou_percent"].drop_null().to_pylist()
    stopped = mine.filter((pc.field("state") == "PRUNED") & (pc.field("iterations") == rung))
    return {
        "arm": arm,
        "iteration": rung,
        REACHED: mine.filter(pc.field("iterations") >= rung).num_rows,
        "stopped there": stopped.num_rows,
        "median mIoU % there": median(found) if found else None,
        "highest mIoU % there": max(found, default=None),
    }


def fronts(source: Source) -> Section:
    """The trials that no other beats in mIoU and what they take."""
    found = pareto(source.study)
    drawn = [
        pareto_front(one, cost, source.objective, source.arm_colours)
        for one in found.fronts
        for cost in (one.costs if one.trivial is None else one.costs[:1])
    ]
    there = [one for one in found.fronts if one.trivial is None]
    read = (
        "Each mark is a finished trial. The line is the front of the two axes: the best mIoU of any trial that takes "
        "no more. One run each: a step of the front may be the seed's.",
    )
    tables = tuple(
        Table(
            name=f"front-{'-'.join(one.costs)}",
            caption=f"The front of mIoU and {', '.join(one.costs)}, the highest mIoU first",
            rows=pa.Table.from_pylist(front_rows(one, source.study)),
        )
        for one in there
    )
    return Section(
        key="pareto",
        title="Pareto fronts",
        text=tuple(map(_sentence, (*map(heading, found.fronts), *notes(found)))),
        drawings=tuple((one,) for one in drawn if isinstance(one, go.Figure)) or tuple((one,) for one in drawn[:1]),
        notes=read if there else (),
        tables=tables,
    )


def _sentence(line: str) -> str:
    return f"{line if line.startswith('mIoU') else line[0].upper() + line[1:]}."

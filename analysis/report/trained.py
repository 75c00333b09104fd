"""Sections of the training itself: learning curves, IoU of each class, terms of the loss, their gradients, masks."""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.difficulty.mask_shares import mask_shares
from analysis.figures.comparison import class_differences, class_heat_map
from analysis.figures.drawing import Drawing, NoFigure
from analysis.figures.gradients import cosines, norm_ratios
from analysis.figures.mask_shares import mask_share_curves
from analysis.figures.style import MANY
from analysis.figures.training import EVALUATIONS, TERM, Trial, curves, curves_to_draw, terms
from analysis.gradients import CONFLICTS, HIGH, LOW, POINTS, conflicts, courses, unreached
from analysis.gradients import gradients as gradients_of
from analysis.report.section import COST, COSTS, Section, Table
from analysis.report.source import Source

UNPROBED = "No step compared the gradients of the loss's terms; `train: {probe_every: N}` does it every N steps."
PROBED = (
    "At some steps the gradient of the task loss and of each distillation term, weighted as in the loss, was taken "
    "with respect to the student's last feature map. A negative cosine of the two is a conflict: a step that lowers "
    "the term raises the task's loss there. At a norm ratio above 1 the term pulls harder than the task."
)
READ_AS = (
    "A line is the median over the trials of an arm that used their whole budget, or over all where none has yet; the "
    f"band goes from {LOW:.0%} to {HIGH:.0%} of these trials. Of more than {POINTS} probes of a trial neighbours are "
    "averaged. Dotted is RDD's first stage (tfe), dashed and dotted its fading into the second (tse)."
)


def learning_curves(source: Source) -> Section:
    """mIoU over the iterations."""
    known = source.reports.group_by(["arm", "trial"]).aggregate([("iteration", "count")])
    longest = pc.max(known["iteration_count"]).as_py() or 1
    chosen = curves_to_draw(known, source.best_trials, longest)
    drawn = curves(_of(source.reports, chosen), source.best_trials, known.num_rows, source.colours)
    numbers = _of(source.reports, source.best_trials).sort_by([("arm", "ascending"), ("iteration", "ascending")])
    named = numbers.rename_columns(["arm", "trial", "iteration", "mIoU %"])
    caption = "Learning curves of the best trial of each arm"
    tables = (Table(name="learning-curves", caption=caption, rows=named),) if numbers else ()
    text = (f"Of a curve of more than {EVALUATIONS} evaluations, every n-th is drawn, and the last.",)
    return Section(key="curves", title="Learning curves", text=text, drawings=((drawn,),), tables=tables)


def _of(reports: pa.Table, trials: list[Trial]) -> pa.Table:
    """The reports of these trials."""
    wanted = pa.table({
        "arm": pa.array([arm for arm, _ in trials], pa.string()),
        "trial": pa.array([number for _, number in trials], pa.int64()),
    })  # fmt: skip
    return reports.join(wanted, ["arm", "trial"], join_type="left semi")


def classes(source: Source) -> Section:
    """IoU of each class of each arm's best trial, against the baseline and the teacher."""
    ious = source.class_ious
    arm = source.study.baseline
    baseline = next((name for name in ious if name.rpartition(" ")[0] == arm), "the arm `baseline`")
    drawn = (class_heat_map(ious, source.classes), class_differences(ious, baseline, source.classes))
    rows = [_class_row(source, name) for name in ious]
    which = "best" if source.objective.startswith("best") else "last"
    caption = f"IoU in % of each class at the {which} evaluation of the best trial of each arm, and of the teacher"
    table = Table(name="classes", caption=caption, rows=pa.Table.from_pylist(rows), legend={COST: COSTS[COST]})
    text = (f"Of one trial each, at its {which} evaluation, on the images that chose it: small differences are noise.",)
    tables = (table,) if ious and source.classes else ()
    rows_of_drawings = (drawn,) if len(ious) <= MANY else tuple((one,) for one in drawn)
    return Section(key="classes", title="Classes", text=text, drawings=rows_of_drawings, tables=tables)


def _class_row(source: Source, name: str) -> Mapping[str, Any]:
    ious, best = source.class_ious[name], source.best.get(name.rpartition(" ")[0], {})
    known = [iou for iou in ious.values() if iou is not None]
    scores = {"mIoU %": fmean(known) if known else None, COST: best.get("cost_trials")}
    return {"network": name, **scores, **{f"{class_} %": ious.get(class_) for class_ in source.classes}}


def loss_terms(source: Source) -> Section:
    """The terms of the loss of each arm's best trial."""
    reports = {trial: _metrics(source, trial) for trial in source.best_trials}
    drawn: tuple[Drawing, ...] = tuple(terms(found, trial) for trial, found in reports.items())
    rows = [row for trial, found in reports.items() for row in _term_rows(trial, found)]
    caption = "Terms of the loss of the best trial of each arm, before their weights"
    tables = (Table(name="terms", caption=caption, rows=pa.Table.from_pylist(rows)),) if rows else ()
    text = ("A term is a mean since the report before, before its weight: sizes of different terms do not compare.",)
    nothing = NoFigure(f"{source.none_finished}, so no arm has a best trial to show.")
    return Section(key="terms", title="Terms of the loss", text=text, drawings=(drawn or (nothing,),), tables=tables)


def _metrics(source: Source, trial: Trial) -> pa.Table:
    arm, number = trial
    columns = ["arm", "trial", "iteration", "metrics"]
    try:
        return source.study.table("reports", columns, (pc.field("arm") == arm) & (pc.field("trial") == number))
    except FileNotFoundError:
        return pa.table({"iteration": pa.array([], pa.int64()), "metrics": []})


def _term_rows(trial: Trial, reports: pa.Table) -> list[dict[str, Any]]:
    about = {"arm": trial[0], "trial": trial[1]}
    return [
        {**about, "iteration": row["iteration"], "term": name.removeprefix(TERM), "value": value}
        for row in reports.sort_by("iteration").to_pylist()
        for name, value in row["metrics"] or ()
        if name.startswith(TERM)
    ]


def masks(source: Source) -> Section:
    """What the task loss of each arm's best trial let count of each class, over its training."""
    title = "What the task loss let count"
    found = {trial: rows for trial in source.best_trials if (rows := _mask_shares(source, trial)).num_rows}
    if not found:
        why = "No best trial of an arm weighs its task loss by a mask, as RDD and OHEM do."
        return Section(key="masks", title=title, text=(why,))
    drawn = tuple(
        mask_share_curves(rows.filter(pc.field("mask") == mask), mask, trial, source.classes)
        for trial, rows in found.items()
        for mask in pc.unique(rows["mask"]).to_pylist()
    )
    text = (
        "The labelled pixels of each class that RDD's TSE stage or OHEM kept in the steps before an evaluation, "
        "and of RDD's TFE stage the mean weight. Of the main head.",
    )
    named = [_named_shares(trial, rows) for trial, rows in found.items()]
    caption = "Share of each class that the task loss let count, of the best trial of each arm"
    table = Table(name="mask-shares", caption=caption, rows=pa.concat_tables(named))
    return Section(key="masks", title=title, text=text, drawings=(drawn,), tables=(table,))


def _mask_shares(source: Source, trial: Trial) -> pa.Table:
    try:
        return mask_shares(source.study, *trial)
    except ValueError:  # nothing of the kind was stored
        return pa.table({})


def _named_shares(trial: Trial, rows: pa.Table) -> pa.Table:
    arm, number = (pa.array([value] * rows.num_rows) for value in trial)
    kept = rows.select(["iteration", "mask", "class", "share_percent", "kept_pixels", "valid_pixels"])
    named = kept.rename_columns(["iteration", "mask", "class", "share %", "kept pixels", "labelled pixels"])
    return named.add_column(0, "arm", arm).add_column(1, "trial", number)


CONFLICT_COLUMNS = {
    "stage": "stage",
    "term": "term",
    "trials": "trials",
    "probes": "probes",
    "median_cosine": "median cosine",
    "conflicting_percent": "in conflict, %",
    "median_norm_ratio": "median norm ratio",
}
"""How the columns of CONFLICTS are named on the page."""


def gradients(source: Source) -> Section:
    """Cosine and norm ratio of each distillation term's gradient with the task's."""
    title = "Gradient conflict"
    found = {arm: rows for arm in source.arms if (rows := gradients_of(source.study, arm)).num_rows}
    if not found:
        return Section(key="gradients", title=title, drawings=((NoFigure(UNPROBED),),))
    drawn = {arm: courses(rows) for arm, rows in found.items()}
    caption = "Gradients of the distillation terms beside the task's, over all probes"
    return Section(
        key="gradients",
        title=title,
        text=(PROBED,),
        drawings=tuple((cosines(course, arm), norm_ratios(course, arm)) for arm, course in drawn.items()),
        notes=(READ_AS, *_unreached(found)),
        tables=(Table(name="gradients", caption=caption, rows=_conflicts(found)),),
    )


def _conflicts(found: Mapping[str, pa.Table]) -> pa.Table:
    rows = [{"arm": arm, **row} for arm, one in found.items() for row in conflicts(one).to_pylist()]
    table = pa.Table.from_pylist(rows, pa.schema([("arm", pa.string()), *CONFLICTS]))
    return table.rename_columns(["arm", *(CONFLICT_COLUMNS[name] for name in CONFLICTS.names)])


def _unreached(found: Mapping[str, pa.Table]) -> Iterator[str]:
    for arm, rows in found.items():
        if terms := unreached(rows):
            yield f"{', '.join(terms)} of {arm}: no value, because what is compared lies before the last feature map."

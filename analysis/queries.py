"""Questions to studies' tables, each answered with plain values. They may be asked while the studies run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies.constraints import feasible
from analysis.studies.runs import none_finished, ranked
from analysis.studies.study import TEACHER, Study, open_studies
from analysis.tuning import spent_trials
from study.tables import parameters_of

LAST = "last_miou_percent"
_KEPT = (
    "arm", "trial", LAST, "best_miou_percent", "best_iteration", "iterations", "seconds", "gpu_seconds", "config_hash",
)  # fmt: skip


def best(*folders: Path, top: int = 1) -> dict[str, Any]:
    """The best finished trials of studies, over all arms and of every arm, with the baseline and the teacher.

    Trials are ranked by what their search maximised, or by their last evaluation where the studies differ in that.
    Those that were stopped early, failed or break a bound of the search are counted, but cannot be best.

    Args:
        folders: of one or several studies on one dataset.
        top: trials over all arms, and of each arm.

    Returns:
        {"dataset", "ranked_by": a column of `trials`, "studies": [{"folder", "name", "baseline": its arm or None,
        "teacher": {"miou_percent": or None, "path", "class_iou_percent"} or None, "failed": [{"arm", "trial",
        "error", "error_file": path or None}, the first ones first], "gaps": [sentence, ...],
        "unequal_terms": [sentence, ...], "searches": [{"arm", "best_miou_percent": [score, ...], "sd_points"}], and the
        cost}], "top": [trial, ...], "arms": [{"folder", "arm", "search_of": the arm that it searches again or None, the
        cost, "spent_trials", "best": [trial, ...], "missing": why there is no best one or None}]}. The gaps are what
        damage has left of a study's tables; unequal terms are what the study says that its arms differ in; the searches
        are the arms that were searched several times, with what each search found best. The cost is that of all trials
        together: "states" {state: trials}, "trials", "seconds", "gpu_seconds"; "spent_trials" is what an arm's trials
        that did not fail cost at their price, in whole trials of the plain student, None in a study without prices. A
        trial has its parameters, its IoU of each class at the evaluation it is ranked by, and "over_baseline_points",
        its mIoU less that of the best trial of all searches of the baseline in its study.

    Raises:
        ValueError: no trial has ended yet, several datasets, one study twice, or `top` is below 1.
    """
    if top < 1:
        raise ValueError(f"--top must be at least 1, but got {top}; ask for 1 trial or more")
    studies = open_studies(folders)
    _check_once(folders)
    objectives = {study.objective for study in studies}
    ranked_by = objectives.pop() if len(objectives) == 1 else LAST
    summaries, boards = zip(*(_board(study, ranked_by, top) for study in studies), strict=True)
    arms = [arm for board in boards for arm in board]
    return {
        "dataset": studies[0].dataset,
        "ranked_by": ranked_by,
        "studies": list(summaries),
        "top": _top([trial for arm in arms for trial in arm["best"]], ranked_by, top),
        "arms": arms,
    }


def _check_once(folders: Sequence[Path]) -> None:
    twice = [str(folder) for folder, count in Counter(path.resolve() for path in folders).items() if count > 1]
    if twice:
        raise ValueError(f"each study must be named once, but got {', '.join(twice)} again; leave it out")


def _top(trials: Sequence[dict[str, Any]], ranked_by: str, count: int) -> list[dict[str, Any]]:
    return sorted(trials, key=lambda trial: (-trial[ranked_by], trial["arm"], trial["trial"]))[:count]


def _board(study: Study, ranked_by: str, top: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary of a study, and the best trials of each of its arms."""
    names = sorted(set(study.trials["arm"].to_pylist()))
    by_arm = {name: study.trials.filter(pc.field("arm") == name) for name in names}
    kept = {name: trials.filter(feasible(study.config)) for name, trials in by_arm.items()}
    rows = {name: ranked(trials, ranked_by).slice(0, top).to_pylist() for name, trials in kept.items()}
    taught = ranked(study.ended.filter(pc.field("arm") == TEACHER), ranked_by).slice(0, 1).to_pylist()
    evaluation = "best_iteration" if ranked_by.startswith("best") else "iterations"
    chosen = [*(row for arm in rows.values() for row in arm), *taught]
    evaluations = study.class_ious((row["arm"], row["trial"], row[evaluation]) for row in chosen)
    ious = {(arm, trial): classes for (arm, trial, _), classes in evaluations.items()}
    folder = str(study.folder)
    summary = {
        "folder": folder,
        "name": study.name,
        "baseline": study.baseline,
        "teacher": _teacher(study, [ious[row["arm"], row["trial"]] for row in taught]),
        "failed": _failed(study),
        "gaps": list(study.gaps),
        "unequal_terms": list(study.unequal_terms),
        "searches": _searches(study, {name: found[0][ranked_by] for name, found in rows.items() if found}),
        **_cost(study.ended),
    }
    plain = (row[ranked_by] for name, found in rows.items() for row in found if _is_baseline(study, name))
    reference = max(plain, default=None)
    arms = []
    for name in names:
        trials = [
            {
                "folder": folder,
                **_trial(row),
                "over_baseline_points": None if reference is None else row[ranked_by] - reference,
                "class_iou_percent": ious[name, row["trial"]],
            }
            for row in rows[name]
        ]
        search_of = first if (first := study.first_search(name)) != name else None
        spent = spent_trials(by_arm[name])
        cost = {**_cost(by_arm[name]), "spent_trials": spent}
        missing = None if trials else none_finished(study, name)
        arms.append({"folder": folder, "arm": name, "search_of": search_of, **cost, "best": trials, "missing": missing})
    return summary, arms


def _is_baseline(study: Study, arm: str) -> bool:
    return study.first_search(arm) == study.baseline


def _searches(study: Study, best: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of each arm that was searched several times: what each search found best, and how much that differs."""
    scores: dict[str, list[float]] = {}
    for name, score in best.items() if study.config.get("searches", 1) > 1 else ():
        scores.setdefault(study.first_search(name), []).append(score)
    return [
        {"arm": arm, "best_miou_percent": found, "sd_points": stdev(found)}
        for arm, found in scores.items()
        if len(found) > 1
    ]


def _failed(study: Study) -> list[dict[str, Any]]:
    rows = study.ended.filter(pc.field("state") == "FAIL").sort_by("ended")
    found = rows.select(["arm", "trial", "error", "error_file"]).to_pylist()
    return [{**row, "error_file": row["error_file"] and str(study.folder / row["error_file"])} for row in found]


def _trial(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in _KEPT}, "parameters": parameters_of(row)}


def _cost(trials: pa.Table) -> dict[str, Any]:
    """Of all these trials together, however they ended."""
    return {
        "states": dict(Counter(trials["state"].to_pylist())),
        "trials": trials.num_rows,
        **{name: pc.sum(trials[name]).as_py() or 0.0 for name in ("seconds", "gpu_seconds")},
    }


def _teacher(study: Study, ious: Sequence[Mapping[str, float | None]]) -> dict[str, Any] | None:
    if study.teacher is None:
        return None
    teacher = {key: study.teacher[key] for key in ("miou_percent", "path")}
    return {**teacher, "class_iou_percent": dict(next(iter(ious), {}))}

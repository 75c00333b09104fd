"""The answer of `queries.best` as tables to read."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.printing import numbers, say, wide
from analysis.studies.parameters import assignments
from analysis.studies.runs import OUTSIDE

Trial = Mapping[str, Any]
FAILED_LINES = 3
"""Failed trials of a study, the last ones, that have a line of their own; `kdstudy status` names more."""


def print_leaderboard(answer: Mapping[str, Any], console: Console | None = None) -> None:
    """Print arms with their best trials, the teacher, what it cost, all parameters, and the classes of the best.

    Trials are ranked by one evaluation, as the answer says; the other one stands beside it.
    """
    console = console or wide()
    several = len(answer["studies"]) > 1
    console.print(_arms(answer, several))
    ranked = "best evaluation, which is optimistic" if answer["ranked_by"].startswith("best") else "last evaluation"
    say(console, f"{answer['dataset']}; ranked by mIoU of the {ranked}; * the baseline, and points over its best trial")
    if any(arm["spent_trials"] is not None for arm in answer["arms"]):
        say(console, "spent: iterations at the price of each arm, in whole trials of the plain student")
    for study in answer["studies"]:
        say(console, f"{study['folder']}: {_cost(study)}")
        for line in (*study["unequal_terms"], *study["gaps"]):
            say(console, f"{study['folder']}: {line}")
        for trial in study["failed"][-FAILED_LINES:]:
            say(console, f"{_name({**study, **trial}, several)}: FAIL, {_failure(trial)}")
        for arm in study["searches"]:
            say(console, _searches(arm))
    for arm in answer["arms"]:
        for trial in arm["best"]:
            say(console, f"{_name(trial, several)}: {_settings(trial)}")
    if len(answer["top"]) > 1:
        say(console, "best of all: " + ", ".join(_name(trial, several) for trial in answer["top"]))
    if classes := _classes(answer, several):
        console.print(classes)


def _arms(answer: Mapping[str, Any], several: bool) -> Table:
    scores = ("trial", "last mIoU %", "best", "points")
    table = numbers("arm", *scores, "spent", "hours", "GPU-h", "trials", "PRUNED", "FAIL")
    for study in answer["studies"]:
        if several:
            table.add_row(study["folder"])
        for arm in (arm for arm in answer["arms"] if arm["folder"] == study["folder"]):
            star = "*" if (arm["search_of"] or arm["arm"]) == study["baseline"] else ""
            for trial in arm["best"] or [None]:
                table.add_row(arm["arm"] + star, *_scores(trial, arm["missing"]), *_counts(arm))
        if study["teacher"]:
            score = study["teacher"]["miou_percent"]
            table.add_row("teacher", "", "not measured" if score is None else f"{score:.2f}")
    return table


def _scores(trial: Trial | None, missing: str | None) -> tuple[str, ...]:
    if trial is None:
        return "", "none keeps the bounds" if missing == OUTSIDE else "no finished trial", "", ""
    over = trial["over_baseline_points"]
    scores = (_percent(trial["last_miou_percent"]), _percent(trial["best_miou_percent"]))
    return str(trial["trial"]), *scores, "" if over is None else f"{over:+.2f}"


def _counts(arm: Mapping[str, Any]) -> tuple[str, ...]:
    hours = (_hours(arm[name]) for name in ("seconds", "gpu_seconds"))
    spent = "" if arm["spent_trials"] is None else f"{arm['spent_trials']:.2f}"
    return spent, *hours, str(arm["trials"]), *(str(arm["states"].get(state, 0)) for state in ("PRUNED", "FAIL"))


def _cost(study: Mapping[str, Any]) -> str:
    hours, gpu_hours = _hours(study["seconds"]), _hours(study["gpu_seconds"])
    return f"{study['trials']} trials, {hours} hours of trials, {gpu_hours} GPU-hours"


def _failure(trial: Trial) -> str:
    see = f"; see {trial['error_file']}" if trial["error_file"] else ""
    return f"{trial['error'] or 'no reason is known'}{see}"


def _searches(arm: Mapping[str, Any]) -> str:
    found = arm["best_miou_percent"]
    return (
        f"{arm['arm']}: each of its {len(found)} searches found {', '.join(map(_percent, found))} best; "
        f"the standard deviation over searches is {arm['sd_points']:.2f} points"
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}" if seconds > 3600 else f"{seconds / 3600:.3f}"


def _classes(answer: Mapping[str, Any], several: bool) -> Table | None:
    """IoU of each class: of the best trial, of the baseline's best and of the teacher in the same study."""
    if not answer["top"]:
        return None
    leader = answer["top"][0]
    study = next(study for study in answer["studies"] if study["folder"] == leader["folder"])
    baseline = [
        trial
        for arm in answer["arms"]
        if (arm["folder"], arm["arm"]) == (study["folder"], study["baseline"]) and arm["arm"] != leader["arm"]
        for trial in arm["best"][:1]
    ]
    columns = {_name(trial, several): trial["class_iou_percent"] for trial in (leader, *baseline)}
    if study["teacher"]:
        columns["teacher"] = study["teacher"]["class_iou_percent"]
    columns = {name: ious for name, ious in columns.items() if ious}
    table = numbers("IoU % of class", *columns)
    for name in dict.fromkeys(name for ious in columns.values() for name in ious):
        table.add_row(name, *(_percent(ious.get(name)) for ious in columns.values()))
    return table if columns else None


def _name(trial: Trial, several: bool) -> str:
    return f"{trial['folder']} {trial['arm']} {trial['trial']}" if several else f"{trial['arm']} {trial['trial']}"


def _settings(trial: Trial) -> str:
    return assignments(trial["parameters"]) or "nothing searched"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

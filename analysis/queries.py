"""Questions to a study's tables, each answered with plain values. They may be asked while the study runs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.studies import PARAMETER, TEACHER, Study, open_study


def best(folder: Path, *, top: int = 1) -> dict[str, Any]:
    """The best finished trials of every arm by the mIoU of their last evaluation, and the teacher.

    Trials that were stopped early or failed are counted, but cannot be best.

    Args:
        folder: a study's.
        top: trials per arm.

    Returns:
        {"folder", "teacher": {"miou_percent": or None, "path"} or None, "seconds": of all trials together, "arms":
        [{"arm", "states": {state: trials}, "best": [trial, ...]}, ...]}.

    Raises:
        ValueError: no trial has ended yet.
    """
    study = open_study(folder)
    ended = study.ended
    arms = sorted(set(ended["arm"].to_pylist()) - {TEACHER})
    return {
        "folder": str(folder),
        "teacher": study.teacher and {key: study.teacher[key] for key in ("miou_percent", "path")},
        "seconds": pc.sum(ended["seconds"]).as_py() or 0.0,
        "arms": [_arm(study, ended.filter(pc.field("arm") == name), name, top) for name in arms],
    }


def _arm(study: Study, trials: pa.Table, name: str, top: int) -> dict[str, Any]:
    complete = trials.filter(pc.field("state") == "COMPLETE")
    ranked = complete.sort_by([("last_miou_percent", "descending"), ("trial", "ascending")])
    return {
        "arm": name,
        "states": dict(Counter(trials["state"].to_pylist())),
        "best": [_trial(study, row) for row in ranked.slice(0, top).to_pylist()],
    }


def _trial(study: Study, row: dict[str, Any]) -> dict[str, Any]:
    kept = ("trial", "last_miou_percent", "best_miou_percent", "best_iteration", "iterations", "seconds", "config_hash")
    searched = {n.removeprefix(PARAMETER): v for n, v in row.items() if n.startswith(PARAMETER) and v is not None}
    return {
        **{name: row[name] for name in kept},
        "parameters": searched,
        "class_iou_percent": _class_iou(study, row),
    }


def _class_iou(study: Study, row: dict[str, Any]) -> dict[str, float | None]:
    """IoU of each class at the trial's last evaluation."""
    mine = (
        (pc.field("arm") == row["arm"])
        & (pc.field("trial") == row["trial"])
        & (pc.field("iteration") == row["iterations"])
    )
    ious = study.table("class_iou", where=mine)
    return dict(zip(ious["class"].to_pylist(), ious["iou_percent"].to_pylist(), strict=True))

"""Questions to a study's tables, each answered with plain values. They may be asked while the study runs."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from study import tables

PARAMETER = "param/"


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
    try:
        trials = tables.read(folder / "tables", "trials")
    except FileNotFoundError as missing:
        raise ValueError(f"{_none(folder)} ({missing})") from None
    if not trials:
        raise ValueError(_none(folder))
    note = folder / "teacher.json"
    teacher = json.loads(note.read_text()) if note.exists() else None
    names = [name for name in dict.fromkeys(trials["arm"].to_pylist()) if name != "teacher"]
    return {
        "folder": str(folder),
        "teacher": teacher and {key: teacher[key] for key in ("miou_percent", "path")},
        "seconds": pc.sum(trials["seconds"]).as_py() or 0.0,
        "arms": [_arm(folder, trials.filter(pc.field("arm") == name), name, top) for name in sorted(names)],
    }


def _none(folder: Path) -> str:
    return f"a study must have a trial to tell of, but no trial has ended yet in {folder}; wait for one"


def _arm(folder: Path, trials: pa.Table, name: str, top: int) -> dict[str, Any]:
    complete = trials.filter(pc.field("state") == "COMPLETE")
    ranked = complete.sort_by([("last_miou_percent", "descending"), ("trial", "ascending")])
    return {
        "arm": name,
        "states": dict(Counter(trials["state"].to_pylist())),
        "best": [_trial(folder, row) for row in ranked.slice(0, top).to_pylist()],
    }


def _trial(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    kept = ("trial", "last_miou_percent", "best_miou_percent", "best_iteration", "iterations", "seconds", "config_hash")
    searched = {n.removeprefix(PARAMETER): v for n, v in row.items() if n.startswith(PARAMETER) and v is not None}
    return {
        **{name: row[name] for name in kept},
        "parameters": searched,
        "class_iou_percent": _class_iou(folder, row),
    }


def _class_iou(folder: Path, row: dict[str, Any]) -> dict[str, float | None]:
    """IoU of each class at the trial's last evaluation."""
    ious = tables.read(folder / "tables", "class_iou")
    mine = ious.filter(
        (pc.field("arm") == row["arm"])
        & (pc.field("trial") == row["trial"])
        & (pc.field("iteration") == row["iterations"])
    )
    return dict(zip(mine["class"].to_pylist(), mine["iou_percent"].to_pylist(), strict=True))

"""Rows of a study's tables, from what trials report."""

import json
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from study import tables
from study.execution.report_keys import PEAK
from study.ledger.trial_run import TrialRun
from trainers.checkpoints.reading import read_evaluations, read_metrics
from trainers.config import canonical_json
from trainers.distillation.gradients import PROBES

NAMED = {
    "eval/miou_percent": "miou_percent",
    "eval/pixel_accuracy_percent": "pixel_accuracy_percent",
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "time/step_ms": "step_ms",
    "time/trial_seconds": "seconds",
}
"""Metrics that have a column of their own in the reports table; the others share its map."""
CLASS = "eval/iou_percent/"
MASK = "mask/"
"""In no METRIC_FOLDERS: what begins with it has a table of its own."""
METRIC_FOLDERS = ("train/", "eval/", "best/", "time/", "memory/")


def report_row(
    key: Mapping[str, Any], attempt: int | None, result: Mapping[str, Any], *, time: datetime | None
) -> dict[str, Any]:
    """One row of the reports table; None for an attempt or a time that nobody knows."""
    others = {
        name: float(value)
        for name, value in result.items()
        if name.startswith(METRIC_FOLDERS)
        and name not in NAMED
        and not name.startswith(CLASS)
        and isinstance(value, int | float)
    }
    named = {column: result.get(name) for name, column in NAMED.items()}
    return {**key, **named, "attempt": attempt, "time": time, "metrics": others}


def class_rows(key: Mapping[str, Any], result: Mapping[str, Any], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the class_iou table, one a class; None for a class that neither occurs nor is predicted."""
    return [{**key, "class": name, "iou_percent": result.get(CLASS + name)} for name in class_names]


def mask_rows(key: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the mask_shares table from `mask/MASK/kept_pixels/CLASS` and `mask/MASK/valid_pixels/CLASS`."""
    counted: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in result.items():
        if name.startswith(MASK):
            _, mask, what, class_name = name.split("/", 3)
            counted.setdefault((mask, class_name), {})[what] = value
    return [
        {
            **key,
            "mask": mask,
            "class": class_name,
            "valid_pixels": int(pixels["valid_pixels"]),
            "kept_pixels": pixels["kept_pixels"],
            "share_percent": 100 * pixels["kept_pixels"] / pixels["valid_pixels"],
        }
        for (mask, class_name), pixels in counted.items()
    ]


def gradient_rows(key: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the gradients table, one a term of each probe since the report before."""
    of_trial = {"arm": key["arm"], "trial": key["trial"]}
    return [
        {
            **of_trial,
            "iteration": probe["iteration"],
            "stage": probe["stage"],
            "term": term,
            "task_norm": probe["task_norm"],
            "term_norm": norm,
            "cosine": cosine,
            "norm_ratio": norm / probe["task_norm"] if norm is not None and probe["task_norm"] else None,
        }
        for probe in json.loads(result.get(PROBES, "[]"))
        for term, (norm, cosine) in probe["terms"].items()
    ]


def trial_row(
    run: TrialRun,
    state: str,
    result: Mapping[str, Any],
    error: str | None,
    started: datetime,
) -> dict[str, Any]:
    """One row of the trials table, in types that JSON has; times as ISO text. The ledger knows cost and student."""
    seconds = float(result.get("time/trial_seconds", 0.0))
    gpus = run.execution.gpus_per_worker * run.trial.train.workers
    return {
        "arm": run.arm,
        "trial": run.number,
        "state": state,
        "attempts": run.attempt,
        "iterations": int(result.get("iteration", 0)),
        "budget": run.budget,
        "seconds": seconds,
        "gpu_seconds": seconds * gpus,
        "config": canonical_json(run.trial),
        "config_hash": run.hash,
        "started": started.isoformat(),
        "ended": datetime.now(UTC).isoformat(),
        "error": error,
        "host": result.get("hostname", socket.gethostname()),
        "peak_memory_mib": result.get(PEAK),
        "best_miou_percent": result.get("best/miou_percent"),
        "last_miou_percent": result.get("eval/miou_percent"),
        "best_iteration": result.get("best/iteration"),
        "retry_of": run.retry_of,
        "cost": None,
        "cost_trials": None,
        "stopped_by": None,
        "error_file": None,
        "earliest_stop": None,
        "parameters": None,
        "multiply_accumulates": None,
        "latency_ms": None,
        "latency_conditions": None,
        **{tables.PARAMETER + path: value for path, value in run.values.items()},
    }


def with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the trials table as Arrow takes it: the ISO texts of its times as datetimes."""
    times = {name: datetime.fromisoformat(row[name]) for name in ("started", "ended")}
    return {**row, **times}


def confusion_rows(
    key: Mapping[str, Any], checkpoint: str | Path, class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Rows of the image_confusion table of a trial's last and best evaluation, from its last checkpoint."""
    names, evaluations = read_evaluations(checkpoint)
    iterations = {"last": key["iterations"], "best": int(read_metrics(checkpoint)["best/iteration"])}
    of_trial = {"arm": key["arm"], "trial": key["trial"]}
    return [
        row
        for evaluation, counts in evaluations.items()
        for row in count_rows(
            {**of_trial, "evaluation": evaluation, "iteration": iterations[evaluation]}, counts, names, class_names
        )
    ]


def count_rows(
    key: Mapping[str, Any], counts: Tensor, names: Sequence[str], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per image and class that occurs there.

    Args:
        key: the columns that all rows share.
        counts: int64 [images, classes, 3]: true positives, false positives, false negatives.
        names: of the images.
        class_names: of the classes.
    """
    return [
        {
            **key,
            "image": names[image],
            "class": class_names[number],
            "true_positives": counts[image, number, 0].item(),
            "false_positives": counts[image, number, 1].item(),
            "false_negatives": counts[image, number, 2].item(),
        }
        for image, number in counts.sum(2).nonzero().tolist()
    ]

"""The columns of every table, as Arrow schemas that name their table, its key and their version."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from study.tables.files import SCHEMA_VERSION as SCHEMA_VERSION
from study.tables.files import TableWarning as TableWarning

PARAMETER = "param/"
"""What the columns of searched parameters begin with; their paths follow."""
_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("ms", tz="UTC")


def _fields(kind: pa.DataType, names: str, *, nullable: bool = False) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=nullable) for name in names.split()]


def _schema(table: str, key: str, *groups: list[pa.Field]) -> pa.Schema:
    fields = [field for group in groups for field in group]
    return pa.schema(fields, {"table": table, "key": key, "schema_version": str(SCHEMA_VERSION)})


def trials_schema(parameters: Mapping[str, pa.DataType]) -> pa.Schema:
    """One row per ended trial: what was asked, how it ended, what it cost.

    `state` is COMPLETE, PRUNED or FAIL; `trial` is Optuna's number; `config` is canonical JSON; `retry_of` is the
    failed trial that this one repeats. `cost` is its iterations times the price of one, in operations
    (multiply-accumulates) or in seconds as the study's `price` says, as if it ran alone; `cost_trials` the same in
    whole trials of the plain student. `seconds` and `gpu_seconds` are what it took in truth. `stopped_by` is "pruning"
    or "budget" in a PRUNED row. `error_file` is where the traceback of a FAIL row lies, below the study's folder.
    `earliest_stop` is the first iteration at which early stopping, of whatever kind, may judge the trial, and its
    `budget` where it never does; null in arms that repeat a setting, and in older tables. The two costs are null in
    studies without prices. `peak_memory_mib` is without the teacher's network in a trial that read all of its outputs
    from a recording. `parameters`, `multiply_accumulates` and `latency_ms` are the student's, of one image of the size
    in `latency_conditions`: counted, and timed once for each distinct student before the study's first trial; null in
    the teacher's row, in older tables, and the last two where the student was not known then.

    Args:
        parameters: the type of each searched parameter by its path; its column is PARAMETER and the path,
            null in the trials where the parameter is not active.
    """
    return _schema(
        "trials",
        "arm trial",
        _fields(_TEXT, "arm"),
        _fields(_INT, "trial"),
        _fields(_TEXT, "state"),
        _fields(_INT, "attempts iterations budget"),
        _fields(_REAL, "seconds gpu_seconds"),
        _fields(_TEXT, "config config_hash"),
        _fields(_TIME, "started ended"),
        _fields(_TEXT, "error host", nullable=True),
        _fields(_REAL, "peak_memory_mib best_miou_percent last_miou_percent", nullable=True),
        _fields(_INT, "best_iteration retry_of", nullable=True),
        _fields(_REAL, "cost cost_trials", nullable=True),
        _fields(_TEXT, "stopped_by error_file", nullable=True),
        _fields(_INT, "earliest_stop", nullable=True),
        _fields(_INT, "parameters multiply_accumulates", nullable=True),
        _fields(_REAL, "latency_ms", nullable=True),
        _fields(_TEXT, "latency_conditions", nullable=True),
        [pa.field(PARAMETER + path, kind) for path, kind in parameters.items()],
    )


def parameters_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The searched parameters that are active in a row of the trials table, by path."""
    return {n.removeprefix(PARAMETER): v for n, v in row.items() if n.startswith(PARAMETER) and v is not None}


REPORTS = _schema(
    "reports",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_INT, "attempt", nullable=True),
    _fields(_TIME, "time", nullable=True),
    _fields(_REAL, "seconds miou_percent pixel_accuracy_percent loss learning_rate step_ms", nullable=True),
    _fields(pa.map_(_TEXT, _REAL), "metrics", nullable=True),
)
"""One row per report; `seconds` is the trial's age, `metrics` every other scalar by name.

A row that was put back after a damage has no `time`, and where only the ledger knew of it the ledger's score alone.
"""
CLASS_IOU = _schema(
    "class_iou",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_TEXT, "class"),
    _fields(_REAL, "iou_percent", nullable=True),
)
"""One row per class of an evaluation; null where neither labels nor predictions have the class."""
MASK_SHARES = _schema(
    "mask_shares",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_TEXT, "mask class"),
    _fields(_INT, "valid_pixels"),
    _fields(_REAL, "kept_pixels share_percent"),
)
"""How much of a class the task loss let count in the steps since the report before; one row per class that had pixels.

`mask` is "tse" or "ohem", whose `kept_pixels` are pixels, or "tfe", where they are the sum of the pixels' weights and
`share_percent` their mean. Of the main head; uniform and focal have no rows.
"""
GRADIENTS = _schema(
    "gradients",
    "arm trial iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial iteration"),
    _fields(_TEXT, "stage", nullable=True),
    _fields(_TEXT, "term"),
    _fields(_REAL, "task_norm term_norm cosine norm_ratio", nullable=True),
)
"""How a distillation term pulls beside the task loss, in the step by which the trial came to `iteration`.

Of the gradients of both by the student's last feature map, weighted as in the loss (trainers.distillation.gradients):
their norms, the term's over the task's (`norm_ratio`), and their cosine. `stage` is RDD's: "tfe", "tse", or "tfe-tse"
while the one fades into the other. A norm is null where the loss does not reach that map, a cosine where either
gradient is missing or 0, a ratio where the task's is.
"""
IMAGE_CONFUSION = _schema(
    "image_confusion",
    "arm trial evaluation iteration",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial"),
    _fields(_TEXT, "evaluation"),
    _fields(_INT, "iteration"),
    _fields(_TEXT, "image class"),
    _fields(_INT, "true_positives false_positives false_negatives"),
)
"""Pixels of a class in an image, in a trial's evaluation `last` or `best`; never all zero."""
RESCORED = _schema(
    "rescored",
    "arm trial split",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial"),
    _fields(_TEXT, "split"),
    _fields(_INT, "iteration images"),
    _fields(_REAL, "miou_percent pixel_accuracy_percent"),
)
"""What the checkpoint of a trial scores on images that the search has not seen; written by `kdstudy rescore`."""
RESCORED_CONFUSION = _schema(
    "rescored_confusion",
    "arm trial split",
    _fields(_TEXT, "arm"),
    _fields(_INT, "trial"),
    _fields(_TEXT, "split"),
    _fields(_INT, "iteration"),
    _fields(_TEXT, "image class"),
    _fields(_INT, "true_positives false_positives false_negatives"),
)
"""Pixels of a class in an image of the split that a checkpoint was judged on again; never all zero."""
IMAGES = _schema("images", "split image", _fields(_TEXT, "split image group"))
"""An image that trials are judged on; images of one `group`, such as the frames of one drive, are not independent."""
ENVIRONMENT = _schema(
    "environment",
    "session",
    _fields(_TEXT, "session"),
    _fields(_TIME, "started"),
    _fields(_TEXT, "host command python platform"),
    _fields(pa.map_(_TEXT, _TEXT), "packages"),
    _fields(pa.list_(_TEXT), "devices"),
    _fields(_INT, "cpus"),
    _fields(_REAL, "memory_mib"),
    _fields(_TEXT, "git_commit", nullable=True),
    _fields(pa.map_(_TEXT, _TEXT), "plugins", nullable=True),
)
"""One row per start of the driver; `plugins` has what adds parts, by name: a package's version, a file's hash."""
SCHEMAS = {
    "trials": trials_schema({}),
    "reports": REPORTS,
    "class_iou": CLASS_IOU,
    "gradients": GRADIENTS,
    "image_confusion": IMAGE_CONFUSION,
    "mask_shares": MASK_SHARES,
    "rescored": RESCORED,
    "rescored_confusion": RESCORED_CONFUSION,
    "images": IMAGES,
    "environment": ENVIRONMENT,
}
"""The tables by name; `trials` has a column for each searched parameter too."""

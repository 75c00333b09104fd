"""Sections of the running: what it cost, what failed, on what it ran."""

import json
import re
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.comparison import costs
from analysis.report.section import Section, Table
from analysis.report.source import Source

PACKAGES = ("kdstudy", "torch", "torchvision", "timm", "ray", "optuna", "numpy", "opencv-python-headless", "pyarrow")
"""Those that can change a number or a decision; the others stand folded."""


def cost(source: Source) -> Section:
    """Seconds of trials and of GPUs, by arm and state."""
    keys = ["arm", "state"]
    sums = [("seconds", "sum"), ("gpu_seconds", "sum"), ("trial", "count")]
    rows = source.study.ended.group_by(keys).aggregate(sums).sort_by([(key, "ascending") for key in keys])
    plain = rows.select([*keys, "trial_count", "seconds_sum", "gpu_seconds_sum"])
    named = plain.rename_columns([*keys, "trials", "trial-seconds", "GPU-seconds"])
    figures = plain.rename_columns([*keys, "trials", "seconds", "gpu_seconds"])
    drawn = (costs(figures, "seconds", "trial-seconds"), costs(figures, "gpu_seconds", "GPU-seconds"))
    text = ("A trial-second is a second of one trial's training, evaluation and checkpoints, whatever ran beside it.",)
    table = Table(name="cost", caption="What the trials cost, by arm and by how they ended", rows=named)
    return Section(key="cost", title="Cost", text=text, drawings=(drawn,), tables=(table,))


def failures(source: Source) -> Section:
    """Errors of failed trials, alike ones together."""
    columns = ["arm", "trial", "error", "error_file"]
    failed = source.study.ended.filter(pc.field("state") == "FAIL").select(columns).to_pylist()
    if not failed:
        return Section(key="failures", title="Failures", text=("No trial failed.",))
    rows = _grouped(failed)
    text = (
        f"Trials that failed: {len(failed)}. Errors that differ only in their numbers are counted as one. The file "
        "beside an error, in the study's folder, has the traceback, what the trial printed last, and the command that "
        "runs it alone.",
    )
    table = Table(name="failures", caption="Errors, alike ones together", rows=pa.Table.from_pylist(rows))
    return Section(key="failures", title="Failures", text=text, tables=(table,))


def _grouped(failed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    alike: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in failed:
        alike[re.sub(r"\d+", "0", row["error"] or "")].append(row)
    return [
        {
            "trials": len(rows),
            "arms": ", ".join(sorted({row["arm"] for row in rows})),
            "for example": f"{rows[0]['arm']}-{rows[0]['trial']}",
            "error": rows[0]["error"] or "no reason was recorded",
            "traceback": rows[0]["error_file"],
        }
        for rows in sorted(alike.values(), key=len, reverse=True)
    ]


def environment(source: Source) -> Section:
    """Starts of the driver, packages, and the study's configuration."""
    config = ("study.json", json.dumps(source.study.config, indent=2))
    try:
        starts = source.study.table("environment").sort_by("started").to_pylist()
    except FileNotFoundError:
        starts = []
    if not starts:
        text = ("The tables hold no start of a driver: an older kdstudy wrote them, or they are not whole.",)
        return Section(key="environment", title="Environment", text=text, verbatim=(config,))
    packages = dict(starts[-1]["packages"])
    everything = "\n".join(sorted((f"{name}=={version}" for name, version in packages.items()), key=str.lower))
    rows = pa.Table.from_pylist([_start(row) for row in starts])
    table = Table(name="environment", caption="Starts of the driver", rows=rows)
    text = ("Versions at the last start: " + ", ".join(f"{p} {packages[p]}" for p in PACKAGES if p in packages) + ".",)
    verbatim = (config, ("All packages at the last start", everything))
    return Section(key="environment", title="Environment", text=text, tables=(table,), verbatim=verbatim)


def _start(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "started": row["started"],
        "host": row["host"],
        "CPUs": row["cpus"],
        "memory GiB": row["memory_mib"] / 1024,
        "devices": ", ".join(row["devices"] or ()),
        "Python": row["python"],
        "platform": row["platform"],
        "commit": row["git_commit"],
        "plugins": ", ".join(f"{name} {version}" for name, version in row.get("plugins") or ()) or None,
        "command": row["command"],
    }

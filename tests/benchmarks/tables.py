"""Tables of 10,000 trials: what questions to them take, how large the files are, and what an append costs as they grow.

Each question is asked in a process of its own, so that its seconds have Python's start in them and its memory is its
own; the medians count. The study is `synthetic`; it is written into a temporary folder.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from study import tables
from tests.benchmarks.measure import machine
from tests.benchmarks.questions import QUESTIONS
from tests.benchmarks.synthetic import Size, write

OUT = Path("runs/bench/tables.json")
BARS: dict[str, dict[str, float]] = {
    "best": {"seconds": 2.0, "peak_mib": 2048},
    "report": {"seconds": 20.0, "peak_mib": 2048},
    "tuning curves": {"seconds": 20.0, "peak_mib": 2048},
    "replay": {"seconds": 20.0, "peak_mib": 2048},
    "replay with a budget": {"seconds": 20.0, "peak_mib": 2048},
}
GROWTH_BAR = 1.5
"""Appends of the last three tenths over those of the first three."""
CLASSES = 19
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def ask(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Median seconds of the whole process, of the question alone and of the processor, and the largest peak."""
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, "-m", "tests.benchmarks.questions", name, str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append({"seconds": time.perf_counter() - start, **json.loads(done.stdout)})
    times = ("seconds", "inside_seconds", "processor_seconds")
    measured = {key: statistics.median(one[key] for one in found) for key in times}
    measured["peak_mib"] = max(one["peak_mib"] for one in found)
    bars = BARS.get(name, {})
    met = all(measured[key] < bar for key, bar in bars.items())
    return {"name": name, **measured, "repeats": repeats, "bars": bars, "met": met}


def file_sizes(folder: Path) -> dict[str, dict[str, int]]:
    """Bytes, files and rows of each table."""
    return {
        place.name: {
            "bytes": sum(file.stat().st_size for file in place.iterdir()),
            "files": len(list(place.iterdir())),
            "rows": sum(pq.read_metadata(file).num_rows for file in place.iterdir()),
        }
        for place in sorted((folder / "tables").iterdir())
    }


def append_costs(folder: Path, trials: int, reports: int) -> dict[str, Any]:
    """Microseconds of processor time for an append, by tenths of the way; sealing is in them.

    Args:
        folder: of the tables.
        trials: that report by turns, to two tables.
        reports: of each trial.
    """
    tenths = []
    with tables.TableWriter(folder, tables.REPORTS) as rows, tables.TableWriter(folder, tables.CLASS_IOU) as ious:
        for tenth in range(10):
            turns = range(tenth * reports // 10, (tenth + 1) * reports // 10)
            start = time.process_time()
            for report in turns:
                for trial in range(trials):
                    _append(rows, ious, trial, report)
            tenths.append(1e6 * (time.process_time() - start) / (2 * trials * len(turns)))
    growth = statistics.median(tenths[-3:]) / statistics.median(tenths[:3])
    return {
        "trials": trials,
        "reports": trials * reports,
        "microseconds": tenths,
        "growth": growth,
        "bar": GROWTH_BAR,
        "met": growth < GROWTH_BAR,
    }


def _append(rows: tables.TableWriter, ious: tables.TableWriter, trial: int, report: int) -> None:
    key = {"arm": "kd", "trial": trial, "iteration": report}
    scores = {"miou_percent": 0.5 * report, "metrics": {"train/term/kd/pixel": 0.25, "train/term/task/main": 1.5}}
    rows.append([{**key, "attempt": 1, "time": NOON, "seconds": 1.5, **scores}])
    ious.append([{**key, "class": f"class {number}", "iou_percent": 1.5 * number} for number in range(CLASSES)])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tables", description=__doc__)
    parser.add_argument("--trials", type=int, default=Size.trials)
    parser.add_argument("--reports", type=int, default=Size.reports, help="of each trial")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), help="questions to ask")
    parser.add_argument("--concurrent", type=int, default=1000, help="trials that append by turns, 100 reports each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place) / "study", Size(trials=options.trials, reports=options.reports))
        sizes = file_sizes(folder)
        questions = [ask(name, folder, options.repeats) for name in options.only]
        appends = append_costs(Path(place) / "appended", options.concurrent, 100)
    _print(sizes, questions, appends)
    written = {"machine": machine(), "files": sizes, "questions": questions, "appends": appends}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(written, indent=1))
    print(f"written to {options.out}")
    return written


def _print(sizes: dict[str, dict[str, int]], questions: Sequence[dict[str, Any]], appends: dict[str, Any]) -> None:
    print("\ntables: rows, files and MiB")
    for name, size in sizes.items():
        print(f"  {name:16} {size['rows']:11,} {size['files']:4} {size['bytes'] / 2**20:8.1f}")
    print("questions: seconds of the process, of the question alone, of the processor, and peak memory")
    for row in questions:
        verdict = "" if row["met"] else f"  MISSED, the bars are {row['bars']}"
        print(
            f"  {row['name']:18} {row['seconds']:6.2f} s {row['inside_seconds']:6.2f} s "
            f"{row['processor_seconds']:6.2f} s {row['peak_mib']:6.0f} MiB{verdict}"
        )
    first, last = appends["microseconds"][0], appends["microseconds"][-1]
    print(
        f"appends of {appends['trials']} trials by turns, {appends['reports']:,} reports: {first:.0f} µs at first, "
        f"{last:.0f} µs at last, {appends['growth']:.2f}x (bar {GROWTH_BAR}x{'' if appends['met'] else ', MISSED'})"
    )


if __name__ == "__main__":
    main()

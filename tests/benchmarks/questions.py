"""One question to a study's tables, asked in this process, which was started for it.

`python -m tests.benchmarks.questions NAME DIR` prints how long it took and the most memory that the process has held,
as JSON. Nothing is imported that the question itself does not need.
"""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc

ARM, TRIAL = "kd", 7


def best(folder: Path) -> None:
    _command("best", str(folder))


def report(folder: Path) -> None:
    _command("report", str(folder), "--out", str(folder / "report.html"))


def tuning_curves(folder: Path) -> None:
    _command("tuning-curves", str(folder))


def replay(folder: Path) -> None:
    """Every kind of early stopping."""
    _command("replay", str(folder))


def replay_with_a_budget(folder: Path) -> None:
    _command("replay", str(folder), "--pruning", "median", "--budget", "500")


def _command(*arguments: str) -> None:
    from study.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    if code:
        raise SystemExit(code)


def learning_curves(folder: Path) -> None:
    from study.tables import read

    read(folder / "tables", "reports", ["arm", "trial", "iteration", "miou_percent"], dictionary=["arm"])


def classes_of_a_trial(folder: Path) -> None:
    from study.tables import read

    read(folder / "tables", "class_iou", None, (pc.field("arm") == ARM) & (pc.field("trial") == TRIAL))


def terms_of_a_trial(folder: Path) -> None:
    from study.tables import read

    where = (pc.field("arm") == ARM) & (pc.field("trial") == TRIAL)
    read(folder / "tables", "reports", ["iteration", "metrics"], where)


def opening(folder: Path) -> None:
    """What a driver that goes on with the study does before its first report."""
    from study import tables

    for schema in (tables.REPORTS, tables.CLASS_IOU):
        tables.TableWriter(folder / "tables", schema).close()


QUESTIONS: dict[str, Callable[[Path], None]] = {
    "best": best,
    "report": report,
    "tuning curves": tuning_curves,
    "replay": replay,
    "replay with a budget": replay_with_a_budget,
    "learning curves": learning_curves,
    "classes of a trial": classes_of_a_trial,
    "terms of a trial": terms_of_a_trial,
    "opening writers": opening,
}


def _peak_mib() -> float:
    """Of this program: what `getrusage` says may be what its parent held before it started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(name: str, folder: Path) -> None:
    """Ask, and print what it took."""
    start = time.perf_counter()
    QUESTIONS[name](folder)
    taken = {"inside_seconds": time.perf_counter() - start, "processor_seconds": time.process_time()}
    print(json.dumps({**taken, "peak_mib": _peak_mib()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""What is done to a study from outside, and how its tables are held against those of one that was left alone."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from study import tables
from study.journal import JOURNAL
from tests.study.conftest import NETWORK, tiny

SMALL_NETWORK = {**NETWORK, "head_channels": 8}
SMALL: dict[str, Any] = {
    "data": {"name": "streets", "size": [32, 48], "train_images": 8, "val_images": 4},
    "augment": {"crop": [32, 48]},
    "student": SMALL_NETWORK,
    "train__batch": 2,
}
"""Changes of the tiny study that leave little to compute."""
INLINE = {"engine": "inline", "concurrent": 1}
WHOLE = tiny(
    **SMALL,
    execution=INLINE,
    teacher={
        "model": SMALL_NETWORK,
        "train": {"iterations": 8, "batch": 2, "evaluate_every": 4, "optimizer": {"lr": 0.05}},
        "folder": "teachers",
    },
    arms__baseline__trials=3,
    arms__rdd__trials=3,
    pruning={"reduction_factor": 2, "grace_iterations": 2},
)
"""A study with a teacher to train, an arm that needs it and one that does not, and trials that are stopped early."""
TRIALS = 7

APART = {
    "trials": ("attempts", "started", "ended", "host", "seconds", "gpu_seconds", "peak_memory_mib"),
    "reports": ("attempt", "time", "seconds", "step_ms"),
    "class_iou": (),
    "image_confusion": (),
}
"""Columns that say when and where something ran, by table."""


def contents(folder: Path) -> dict[str, list[str]]:
    """Of every table the sorted rows, without what says when and where they were made."""
    return {name: sorted(_told(row, apart) for row in _rows(folder, name)) for name, apart in APART.items()}


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read(folder / "tables", name).to_pylist()
    return rows


def _told(row: dict[str, Any], apart: tuple[str, ...]) -> str:
    kept = {name: value for name, value in row.items() if name not in apart}
    if "metrics" in kept:
        kept["metrics"] = [(name, v) for name, v in kept["metrics"] if not name.startswith(("time/", "memory/"))]
    if "config" in kept:
        config = json.loads(kept["config"])
        kept["config"] = {**config, "teacher": config["teacher"] and config["teacher"]["sha256"]}
    return repr(kept)


def assert_same_study(folder: Path, undisturbed: Path) -> None:
    """Hold all tables against those of a study that was left alone."""
    found, expected = contents(folder), contents(undisturbed)
    for name, rows in expected.items():
        missing = [row for row in rows if row not in found[name]]
        added = [row for row in found[name] if row not in rows]
        assert not missing and not added, f"{name}: missing {missing[:2]}, added {added[:2]}"
        assert len(found[name]) == len(rows), f"{name}: rows stand twice"


def journal(folder: Path) -> bytes:
    """The ledger's journal as it stands; nothing before it is there."""
    path = folder / JOURNAL
    return path.read_bytes() if path.exists() else b""


def wait_while_alive(driver: Any, condition: Callable[[], object]) -> bool:
    """Wait until a condition holds; False where the driver, a Popen, ended before."""
    while driver.poll() is None:
        if condition():
            return True
        time.sleep(0.005)
    return False


def below(pid: int, name: str) -> list[psutil.Process]:
    """Processes below `pid` whose command line has this in it."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found

"""Studies that train in seconds, and how what they wrote is held together and against one that was left alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from study import tables
from study.ledger.journal import JOURNAL
from tests.e2e.drivers import in_process
from tests.study.conftest import NETWORK, tiny

INLINE = {"engine": "inline", "concurrent": 1}
SMALL_NETWORK = {**NETWORK, "head_channels": 8}
SMALL: dict[str, Any] = {
    "data": {"name": "streets", "size": [32, 48], "train_images": 8, "val_images": 4},
    "augment": {"crop": [32, 48]},
    "student": SMALL_NETWORK,
    "train__batch": 2,
}
"""Changes of the tiny study that leave little to compute."""
WHOLE = tiny(
    **SMALL,
    train__probe_every=3,
    execution={**INLINE, "checkpoint_every": 3},
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
    "trials": ("attempts", "started", "ended", "host", "seconds", "gpu_seconds", "peak_memory_mib", "latency_ms"),
    "reports": ("attempt", "time", "seconds", "step_ms"),
    "class_iou": (),
    "gradients": (),
    "image_confusion": (),
}
"""Columns that say when and where something ran, by table."""


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read(folder / "tables", name).to_pylist()
    return rows


def trial_rows(folder: Path) -> list[dict[str, Any]]:
    return sorted(rows_of(folder, "trials"), key=lambda row: (row["arm"], row["trial"]))


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Of every trial what must not depend on when and where it ran."""
    kept = ("arm", "trial", "state", "config_hash", "iterations", "last_miou_percent", "best_miou_percent")
    return [
        {name: value for name, value in row.items() if name in kept or name.startswith("param/")}
        for row in trial_rows(folder)
        if row["arm"] != "teacher"
    ]


def checkpoints(folder: Path) -> set[Path]:
    return set((folder / "trials").glob("*/checkpoint_[0-9]*"))


def weights(folder: Path, trial: str) -> dict[str, torch.Tensor]:
    last = sorted((folder / "trials" / trial).glob("checkpoint_[0-9]*"))[-1]
    found: dict[str, torch.Tensor] = load_file(last / "weights.safetensors")
    return found


def journal(folder: Path) -> bytes:
    """The ledger's journal as it stands; nothing before it is there."""
    path = folder / JOURNAL
    return path.read_bytes() if path.exists() else b""


def tear_journal(folder: Path, entry: str) -> None:
    """Leave the journal as a machine does that lost its power: half a line, and Optuna's lock.

    The driver must be dead. Its own death may have left the lock already.
    """
    lock = folder / f"{JOURNAL}.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(folder / JOURNAL)
    with (folder / JOURNAL).open("a") as file:
        file.write(entry)


def assert_consistent(folder: Path) -> None:
    """The ledger and the tables tell of the same trials, each once, and every evaluation is there once."""
    counts = json.loads(in_process("status", folder, "--json", cwd=folder).stdout)
    rows = trial_rows(folder)
    assert len({(row["arm"], row["trial"]) for row in rows}) == len(rows)
    for arm, found in counts.items():
        states = Counter(row["state"] for row in rows if row["arm"] == arm)
        ended = ("COMPLETE", "PRUNED", "FAIL")
        assert {state: found[state] for state in ended} == {state: states[state] for state in ended}
        assert found["RUNNING"] == found["INTERRUPTED"] == found["WAITING"] == 0
        assert found["COMPLETE"] + found["PRUNED"] == found["budget"]
    reports = tables.read(folder / "tables", "reports", ["arm", "trial", "iteration"]).to_pylist()
    keys = [tuple(report.values()) for report in reports]
    assert len(set(keys)) == len(keys)
    for row in rows:
        mine = sorted(key[2] for key in keys if key[:2] == (row["arm"], row["trial"]))
        every = json.loads(row["config"])["train"]["evaluate_every"]
        if row["state"] != "FAIL":
            assert mine == list(range(every, row["iterations"] + 1, every))


def assert_same_study(folder: Path, undisturbed: Path) -> None:
    """Hold all tables against those of a study that was left alone."""
    found, expected = contents(folder), contents(undisturbed)
    for name, rows in expected.items():
        missing = [row for row in rows if row not in found[name]]
        added = [row for row in found[name] if row not in rows]
        assert not missing and not added, f"{name}: missing {missing[:2]}, added {added[:2]}"
        assert len(found[name]) == len(rows), f"{name}: rows stand twice"


def contents(folder: Path) -> dict[str, list[str]]:
    """Of every table the sorted rows, without what says when and where they were made."""
    return {name: sorted(_told(row, apart) for row in rows_of(folder, name)) for name, apart in APART.items()}


def _told(row: dict[str, Any], apart: tuple[str, ...]) -> str:
    kept = {name: value for name, value in row.items() if name not in apart}
    if "metrics" in kept:
        kept["metrics"] = [(name, v) for name, v in kept["metrics"] if not name.startswith(("time/", "memory/"))]
    if "config" in kept:
        config = json.loads(kept["config"])
        kept["config"] = {**config, "teacher": config["teacher"] and config["teacher"]["sha256"]}
    return repr(kept)

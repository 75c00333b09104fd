"""What comparing the gradients of the terms adds to the steps of a preset, in percent of a step, at its interval.

Every step of one trial compares them, none of another; both train side by side on the same batches in one process, and
what counts is the median of the ratios of steps that stood side by side, over the interval. On a CPU its own time is
measured, and not that of other processes. The networks, crop and batch are the preset's, the images are drawn streets,
and teacher and position network are untrained, which costs the same.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from operator import truediv
from pathlib import Path
from typing import Any

import cv2
import torch

from study.configuration.config import StudyConfig
from study.configuration.loading import load
from tests.benchmarks.measure import machine
from tests.benchmarks.step import BATCHES, WARM_UP, teacher_file
from trainers import loop
from trainers.checkpoint import TrainState
from trainers.context import LocalContext

OUT = Path("runs/bench/gradients.json")
BAR_PERCENT = 2.0
PRESET = "camvid-methods"
ARMS = ("kd", "ifvd", "rdd-skd", "rdd-cwd", "rdd-dsd", "rdd-cirkd", "rdd-idd")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gradients", description=__doc__)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--repeats", type=int, default=40, help="steps of each trial after a warm-up")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    study, device = _study(), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"\n{PRESET}, {device.type}: what a step that compares gradients takes more, and at every {_every(study)}-th")
    rows = [_row(study, arm, device, chosen.repeats) for arm in chosen.arms]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps({"machine": machine(), "probes": rows}, indent=1))
    print(f"written to {chosen.out}")
    return {"machine": machine(), "probes": rows}


def _row(study: StudyConfig, arm: str, device: torch.device, repeats: int) -> dict[str, Any]:
    plain, probed = _seconds(study, arm, device, repeats)
    one = 100 * (statistics.median(map(truediv, probed, plain)) - 1)
    percent = one / _every(study)
    met = percent <= BAR_PERCENT
    print(f"  {arm:10} {one:+7.1f} % {percent:+6.2f} %  (bar {BAR_PERCENT:+.0f} %{'' if met else ', MISSED'})")
    return {
        "preset": PRESET,
        "arm": arm,
        "device": device.type,
        "plain_ms": 1000 * statistics.median(plain),
        "probed_ms": 1000 * statistics.median(probed),
        "every": _every(study),
        "percent": percent,
        "met": met,
        "repeats": repeats,
    }


def _seconds(study: StudyConfig, arm: str, device: torch.device, repeats: int) -> tuple[list[float], list[float]]:
    """Of steps that compare nothing, and of those of the same batches that do."""
    trials = {every: _prepared(study, arm, every, device) for every in (0, 1)}
    parts, _ = trials[0]
    torch.set_num_threads(parts.config.train.threads)
    cv2.setNumThreads(0)
    batches = list(islice(loop._batches(parts, 0), BATCHES))
    times: dict[int, list[float]] = {every: [] for every in trials}
    for turn in range(WARM_UP + repeats):
        for every in sorted(trials, reverse=bool(turn % 2)):
            start = _now(device)
            loop.step(*trials[every], *batches[turn % BATCHES])
            times[every].append(_now(device) - start)
    return times[0][WARM_UP:], times[1][WARM_UP:]


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _prepared(study: StudyConfig, arm: str, every: int, device: torch.device) -> tuple[loop.Parts, TrainState]:
    with tempfile.TemporaryDirectory() as folder:
        file = teacher_file(study, Path(folder))
        trial = study.trial(arm, {"train/iterations": 1_000_000, "train/probe_every": every}, file)
        return loop.prepare(trial, LocalContext(Path(), device=device), 0)


def _study() -> StudyConfig:
    drawn = ["data={name: streets, size: [120, 160]}", "student.weights=none", "teacher.model.weights=none"]
    return load(PRESET, drawn)


def _every(study: StudyConfig) -> int:
    return study.train.probe_every


if __name__ == "__main__":
    main()

"""What RDD adds to a training step: (RDD + KD) over (uniform + KD), in percent; in both the teacher runs both heads.

And what part of a step with RDD is the counting, for the log, of how much its masks keep of each class.

The networks, crop, batch and precision are those of a preset, for one of its workers; the images are drawn streets and
the teacher is untrained, which costs the same. A step is the one that `trainers.loop` runs, without the reading of the
batch. The variants train side by side in one process, each a step in turn on the same batch, and what counts is the
median of the ratios of steps that stood side by side: a machine that slows down slows them all.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from operator import truediv
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from study.configuration.config import StudyConfig
from study.configuration.loading import load
from tests.benchmarks.measure import machine
from trainers import loop, models
from trainers.checkpoint import TrainState
from trainers.config import TeacherFile, TrialConfig
from trainers.context import LocalContext
from trainers.data import streets
from trainers.data.transforms import Normalisation
from trainers.difficulty.class_shares import ClassShares
from trainers.teachers import teacher
from trainers.teachers.outputs import LiveTeacher

OUT = Path("runs/bench/step.json")
BAR_PERCENT, COUNTING_BAR_PERCENT = 2.0, 1.0
WARM_UP = 3
BATCHES = 8
BASELINE = "uniform"
VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: {"weighting": "uniform"},
    "rdd tfe": {"weighting": "rdd", "tfe_fraction": 1},
    "rdd tse": {"weighting": "rdd", "tfe_fraction": 0},
}
PRESETS = {"camvid-rdd": (120, 160), "camvid-rdd-paper": (360, 480)}
"""Presets that may be measured, with the size of their images."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step", description=__doc__)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, help="default: the second only where CUDA is present")
    parser.add_argument("--repeats", type=int, default=150, help="steps of each variant after a warm-up")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    places = [("camvid-rdd", torch.device("cpu"))] + [("camvid-rdd-paper", device)] * (device.type == "cuda")
    if chosen.presets:
        places = [(preset, device) for preset in chosen.presets]
    written: dict[str, Any] = {"machine": machine(), "steps": []}
    for preset, where in places:
        print(f"\n{preset}, {where.type}: milliseconds a step, and what RDD adds [95 % interval]")
        for row in _costs(preset, where, chosen.repeats):
            written["steps"].append(row)
            low, high = row["interval_percent"]
            verdict = "" if row["met"] else ", MISSED"
            print(
                f"  {row['variant']:10} {row['uniform_ms']:8.1f} -> {row['ms']:8.1f}  {row['percent']:+.2f} % "
                f"[{low:+.2f}, {high:+.2f}]  (bar {BAR_PERCENT:+.0f} %{verdict})"
            )
            counting = "" if row["counting_met"] else ", MISSED"
            print(
                f"    counting by class: {row['counting_percent']:.2f} % (bar {COUNTING_BAR_PERCENT:.0f} %{counting})"
            )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(written, indent=1))
    print(f"written to {chosen.out}")
    return written


def _costs(preset: str, device: torch.device, repeats: int) -> list[dict[str, Any]]:
    times, counting = _times(preset, device, repeats)
    rows = []
    for variant in VARIANTS:
        if variant == BASELINE:
            continue
        share = 100 * statistics.median(map(truediv, counting[variant], times[variant]))
        ratios = sorted(100 * (ours / plain - 1) for ours, plain in zip(times[variant], times[BASELINE], strict=True))
        rows.append(
            {
                "preset": preset,
                "device": device.type,
                "variant": variant,
                "uniform_ms": 1000 * statistics.median(times[BASELINE]),
                "ms": 1000 * statistics.median(times[variant]),
                "percent": statistics.median(ratios),
                "interval_percent": _interval_of_median(ratios),
                "bar_percent": BAR_PERCENT,
                "met": statistics.median(ratios) <= BAR_PERCENT,
                "counting_percent": share,
                "counting_met": share <= COUNTING_BAR_PERCENT,
                "repeats": repeats,
            }
        )
    return rows


def _interval_of_median(ordered: Sequence[float]) -> tuple[float, float]:
    """95 % interval from the order statistics (sign test), whatever the distribution."""
    cut = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))))
    return ordered[cut], ordered[-1 - cut]


class TimedShares(ClassShares[str]):
    """Remembers when every `add` began and ended, on a GPU without waiting for it."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self._times: list[tuple[Any, Any]] = []

    def add(self, name: str, labels: Tensor, weight: Tensor) -> None:
        start = _mark(labels.device)
        super().add(name, labels, weight)
        self._times.append((start, _mark(labels.device)))

    def seconds(self) -> list[float]:
        """Of every `add`, once the device has done them all."""
        return [e - s if isinstance(s, float) else s.elapsed_time(e) / 1000 for s, e in self._times]


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _times(preset: str, device: torch.device, repeats: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every step of each variant, those of one batch at the same place, and of the counting in it."""
    with tempfile.TemporaryDirectory() as folder:
        trials = _trials(_study(preset), Path(folder))
        trained = {name: _prepared(trial, device) for name, trial in trials.items()}
    counted = {name: TimedShares(len(streets.Dataset.class_names)) for name in trained}
    for name, (_, state) in trained.items():
        state.distiller.weighting.class_shares = counted[name]
    torch.set_num_threads(trials[BASELINE].train.threads)
    cv2.setNumThreads(0)
    batches = list(islice(loop._batches(trained[BASELINE][0], 0), BATCHES))
    names, times = list(trained), {name: [] for name in trained}
    for turn in range(WARM_UP + repeats):
        first = turn % len(names)  # none of them always follows the same one
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            loop.step(*trained[name], *batches[turn % BATCHES])
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    shares = {name: shares.seconds()[WARM_UP:] for name, shares in counted.items()}
    return {name: found[WARM_UP:] for name, found in times.items()}, shares


def _prepared(trial: TrialConfig, device: torch.device) -> tuple[loop.Parts, TrainState]:
    """A trial whose teacher computes all taps, also where KD alone would leave the auxiliary head out."""
    parts, state = loop.prepare(trial, LocalContext(Path(), device=device), 0)
    assert isinstance(parts.teacher, LiveTeacher)
    return replace(parts, teacher=parts.teacher.teacher), state


def _study(preset: str) -> StudyConfig:
    """The preset on drawn streets, the share of one of its workers."""
    height, width = PRESETS[preset]
    drawn = [f"data={{name: streets, size: [{height}, {width}]}}"]
    train = load(preset, drawn).train
    one_rank = ["train.workers=1", f"train.batch={train.batch // train.workers}"]
    return load(preset, [*drawn, *one_rank, "student.weights=none", "teacher.model.weights=none"])


def _trials(study: StudyConfig, folder: Path) -> dict[str, TrialConfig]:
    """Every variant, so long that the learning rate stays what it is at the start."""
    file = teacher_file(study, folder)
    return {
        name: study.trial("kd", {"task": task, "methods": {"kd": {}}, "train/iterations": 1_000_000}, file)
        for name, task in VARIANTS.items()
    }


def teacher_file(study: StudyConfig, folder: Path) -> TeacherFile:
    names = streets.Dataset.class_names
    card = teacher.TeacherCard(
        model=study.teacher.model,
        class_names=names,
        normalisation=Normalisation(),
        data=study.data,
        miou_percent=0.0,
        probe_miou_percent=0.0,
        trained_by="",
    )
    path = folder / "teacher.safetensors"
    teacher.save(models.build(card.model, num_classes=len(names)), card, path)
    return TeacherFile(path=str(path))


if __name__ == "__main__":
    main()

"""What a recorded teacher saves: steps of KD with recorded outputs over steps with a live teacher, and whole trials.

Processor time, all threads together, of one process. A step is the one that `trainers.loop` runs, with the reading of
recordings and without that of images; live KD, recorded KD and the baseline without a teacher train side by side, each
a step in turn on the same batch, and what counts is the median of the ratios of steps that stood side by side. Then
trials of KD from start to end, none stopped, evaluation and checkpoint included: as many with a live teacher as with
recordings that the first of them leaves. Networks are those of presets; images are drawn streets, and the teacher is
untrained, which costs the same. For R101 -> R18 crop and batch are small, so that it takes minutes.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import truediv
from pathlib import Path
from typing import Any

import cv2
import torch

from study.configuration.config import StudyConfig
from study.configuration.loading import load
from tests.benchmarks.measure import machine
from trainers import loop, models
from trainers.config import TeacherFile, TrialConfig
from trainers.context import LocalContext
from trainers.data import streets
from trainers.data.transforms import Normalisation
from trainers.teachers import teacher
from trainers.teachers.recordings.plan import RecordingPlan
from trainers.teachers.recordings.reads import taps_read

OUT = Path("runs/bench/recorded.json")
WARM_UP = 2
BASELINE_BAR = 1.05
TRIALS_BAR = 0.70
CLASSES = len(streets.Dataset.class_names)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A preset at a size that can be measured here.

    Attributes:
        preset: whose networks, optimizer and precision are taken.
        size: of the drawn images.
        changes: to the preset.
        bar: most that a recorded step may take of a live one.
    """

    preset: str
    size: tuple[int, int]
    changes: tuple[str, ...] = ()
    bar: float

    def study(self) -> StudyConfig:
        height, width = self.size
        drawn = f"data={{name: streets, size: [{height}, {width}], train_images: 24, val_images: 4}}"
        return load(self.preset, [drawn, "train.workers=1", *self.changes])


SMALL = ("augment.crop=[128, 128]", "train.batch=4", "train.precision=float32", "train.freeze_batch_norm=false")
FROM_SCRATCH = ("student.weights=none", "teacher.model.weights=none")
CASES = {
    "R101 -> R18": Case(preset="camvid-rdd-paper", size=(128, 160), changes=(*SMALL, *FROM_SCRATCH), bar=0.55),
    "camvid-rdd": Case(preset="camvid-rdd", size=(120, 160), bar=0.87),
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recorded", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=15, help="of each variant after a warm-up")
    parser.add_argument("--trials-of", choices=CASES, default="R101 -> R18")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=6, help="of each of these trials")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    cv2.setNumThreads(0)
    print("\nrecorded teacher: processor time, medians of ratios of steps side by side")
    steps = [_steps(name, chosen.steps) for name in chosen.cases]
    for row in steps:
        print(
            f"  {row['case']:12} live {row['live_ms']:.0f} ms, recorded {row['recorded_ms']:.0f}: "
            f"{_against(row['recorded_to_live'], row['bar'])}; recorded / baseline: "
            f"{_against(row['recorded_to_baseline'], BASELINE_BAR)}"
        )
    trials = _trials(chosen.trials_of, chosen.trials, chosen.iterations)
    print(
        f"  {trials['trials']} trials of {trials['case']}: live {trials['live_s']:.0f} s, recorded "
        f"{trials['recorded_s']:.0f}: {_against(trials['recorded_to_live'], TRIALS_BAR)}"
    )
    written = {"machine": machine(), "steps": steps, "trials": trials}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(written, indent=1))
    print(f"written to {chosen.out}")
    return written


def _against(ratio: float, bar: float) -> str:
    return f"{ratio:.3f} (bar {bar:.2f}{'' if ratio <= bar else ', MISSED'})"


def _steps(name: str, repeats: int) -> dict[str, Any]:
    """One case, in milliseconds and ratios."""
    taken = _side_by_side(CASES[name].study(), WARM_UP + repeats)
    taken = {variant: times[WARM_UP:] for variant, times in taken.items()}
    to_live, to_baseline = (
        statistics.median(map(truediv, taken["recorded"], taken[other])) for other in ("live", "baseline")
    )
    return {
        "case": name,
        **{f"{variant}_ms": 1000 * statistics.median(times) for variant, times in taken.items()},
        "recorded_to_live": to_live,
        "bar": CASES[name].bar,
        "met": to_live <= CASES[name].bar,
        "recorded_to_baseline": to_baseline,
        "baseline_met": to_baseline <= BASELINE_BAR,
        "repeats": repeats,
    }


def _side_by_side(study: StudyConfig, steps: int) -> dict[str, list[float]]:
    """Seconds of every step of each variant, those of one batch at the same place."""
    with tempfile.TemporaryDirectory() as folder:
        file = _teacher_file(study, Path(folder))
        # so long that the learning rate stays what it is at the start
        kd = _trial(study, file, iterations=1_000_000)
        plan = _plan(kd, Path(folder))
        recording = loop.prepare(kd, LocalContext(Path()), 0, recording=plan)
        batches = list(islice(loop._batches(recording[0], 0), steps))
        torch.set_num_threads(kd.train.threads)
        _all_steps(recording, batches)
        variants = {
            "baseline": loop.prepare(replace(kd, methods={}, teacher=None), LocalContext(Path()), 0),
            "live": loop.prepare(kd, LocalContext(Path()), 0),
            "recorded": loop.prepare(kd, LocalContext(Path()), 0, recording=plan),
        }
        recorded = variants["recorded"][0].recorded
        assert recorded is not None
        taken: dict[str, list[float]] = {name: [] for name in variants}
        with recorded:
            for number, batch in enumerate(batches):
                first = number % len(variants)  # none of them always follows the same one
                for name in [*variants, *variants][first : first + len(variants)]:
                    taken[name].append(_seconds(lambda of=variants[name], on=batch: loop.step(*of, *on)))
        assert recorded.drain() == {"time/teacher_recorded_steps": steps, "time/teacher_live_steps": 0}
    return taken


def _all_steps(trained: Any, batches: Sequence[Any]) -> None:
    with trained[0].recorded:
        for batch in batches:
            loop.step(*trained, *batch)


def _seconds(work: Callable[[], Any]) -> float:
    """Of processor time, that of other threads meanwhile included."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _trials(name: str, number: int, iterations: int) -> dict[str, Any]:
    """So many trials with a live teacher, and as many that record and read; in turns, in seconds."""
    study = CASES[name].study()
    taken = {"live": 0.0, "recorded": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        file = _teacher_file(study, Path(folder))
        kd = _trial(study, file, iterations=iterations)
        plan = _plan(kd, Path(folder))
        for trial in range(number):
            config = replace(kd, init_seed=trial)
            for variant, recording in (("live", None), ("recorded", plan)):
                context = LocalContext(Path(folder) / variant / str(trial), keep=1)
                taken[variant] += _seconds(lambda c=config, at=context, r=recording: loop.train(c, at, recording=r))
    ratio = taken["recorded"] / taken["live"]
    return {
        "case": name,
        "trials": number,
        "iterations": iterations,
        **{f"{variant}_s": seconds for variant, seconds in taken.items()},
        "recorded_to_live": ratio,
        "bar": TRIALS_BAR,
        "met": ratio <= TRIALS_BAR,
    }


def _trial(study: StudyConfig, file: TeacherFile, *, iterations: int) -> TrialConfig:
    trial = study.trial("kd", {"methods": {"kd": {}}}, file)
    return replace(trial, train=replace(trial.train, iterations=iterations, evaluate_every=iterations))


def _plan(trial: TrialConfig, folder: Path) -> RecordingPlan:
    first = replace(trial, train=replace(trial.train, iterations=1))
    taps = taps_read(first, teacher=("aux", "features", "logits"), num_classes=CLASSES)
    return RecordingPlan(
        folder=str(folder / "recordings"), taps=dict.fromkeys(taps, trial.train.iterations), max_bytes=2**33
    )


def _teacher_file(study: StudyConfig, folder: Path) -> TeacherFile:
    card = teacher.TeacherCard(
        model=study.teacher.model, class_names=streets.Dataset.class_names, normalisation=Normalisation()
    )
    path = folder / "teacher.safetensors"
    teacher.save(models.build(card.model, num_classes=CLASSES), card, path)
    return TeacherFile(path=str(path), sha256=teacher.sha256(path))


if __name__ == "__main__":
    warnings.simplefilter("error", UserWarning)  # a recording that stops is no measurement
    main()

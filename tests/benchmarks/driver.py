"""What a study's driver does itself, at a size that no machine here could train: no Ray, no training, no GPU.

Searcher, scheduler, recorder, ledger, journal and tables are the real ones; trials are what Tune would hand to them,
and their reports are made up. Left out are Tune's own work, the drawing of the live view, and the confusion matrices,
which the driver reads from each ended trial's last checkpoint. The study is cut into tenths by the ends of trials: what
an event costs in the last one, beside the first, says whether the study can grow.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from rich.console import Console

from study.configuration.config import StudyConfig
from study.execution.capacity import ClusterCapacity
from study.execution.display.view import View
from study.execution.recording.recorder import Recorder
from study.execution.recording.study_tables import StudyTables
from study.execution.scheduler import LedgerScheduler
from study.execution.searcher import LedgerSearcher
from study.execution.stopping import Drain
from study.ledger.ledger import open_arms
from tests.benchmarks.measure import machine
from trainers.config import TeacherFile, parse

EVERY = 10
"""Iterations between two evaluations."""
CLASSES = 11


@dataclass
class Tenth:
    """CPU seconds and counts of a part of the study, and what there was at its end.

    Attributes:
        suggest_s: for trials that were handed out; `idle_s` for the asking in vain that Tune does at every event.
        report_s: for the ledger's share of a report and its rows.
        end_s: for the ends of trials.
    """

    suggestions: int = 0
    reports: int = 0
    ends: int = 0
    suggest_s: float = 0.0
    idle_s: float = 0.0
    report_s: float = 0.0
    end_s: float = 0.0
    memory_mib: float = 0.0
    journal_mib: float = 0.0
    tables_mib: float = 0.0

    @contextmanager
    def charged(self, what: str) -> Iterator[None]:
        """Add the CPU time of this process to a field."""
        before = time.process_time()
        yield
        setattr(self, what, getattr(self, what) + time.process_time() - before)


def study(trials: int, evaluations: int) -> StudyConfig:
    """Two arms, RDD with KD and focal, that share the trials; successive halving from a quarter of the budget."""
    half = {"trials": math.ceil(trials / 2)}
    network = {"architecture": "pspnet", "backbone": "mobilenetv2_035"}
    values = {
        "name": "simulated",
        "data": {"name": "streets", "size": [64, 96]},
        "augment": {"crop": [64, 96]},
        "student": network,
        "train": {"iterations": EVERY * evaluations, "batch": 4, "evaluate_every": EVERY},
        "teacher": {"model": network, "train": {"iterations": 1, "batch": 4, "evaluate_every": 1}},
        "pruning": {"reduction_factor": 3, "grace_iterations": EVERY * evaluations // 4},
        "arms": {
            "rdd": {**half, "space": ["rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
            "focal": {**half, "space": ["optimizer"], "task": {"weighting": "focal"}},
        },
        "execution": {"engine": "inline"},
    }
    return parse(StudyConfig, values).with_spaces()


def score(number: int, iteration: int) -> float:
    """A made-up mIoU that rises and differs from trial to trial."""
    return 20 + 10 * math.sin(number * 12.9898) ** 2 + math.log1p(iteration)


def report(number: int, iteration: int, names: Sequence[str]) -> dict[str, Any]:
    """What a trial reports, with as many values as real ones have."""
    value = score(number, iteration)
    return {
        "iteration": iteration,
        "eval/miou_percent": value,
        "best/miou_percent": value,
        "best/iteration": iteration,
        "eval/pixel_accuracy_percent": 60.0,
        **{f"eval/iou_percent/{name}": value for name in names},
        **{f"train/term/{name}": 0.5 for name in ("task/main", "task/aux", "kd/pixel")},
        "train/loss": 1.5,
        "train/learning_rate": 0.05,
        "time/step_ms": 12.0,
        "time/trial_seconds": float(iteration),
        "memory/peak_mib": 100.0,
    }


@dataclass
class Driver:
    """A driver whose trials report in turns."""

    config: StudyConfig
    folder: Path
    concurrent: int
    part: Tenth = field(default_factory=Tenth)

    def __post_init__(self) -> None:
        drain, teacher = Drain(), TeacherFile(path="/teacher.safetensors", sha256="0" * 64)
        self.arms = open_arms(self.config, self.folder, with_teacher=False)
        self.tables = StudyTables(self.config, self.folder, self.arms)
        view = View(self.arms, Console(quiet=True))
        self.recorder = Recorder(self.config, self.arms, self.tables, view, on_teacher=lambda _: None, drain=drain)
        capacity = ClusterCapacity(self.config.execution, nodes=lambda: [{"CPU": float(self.concurrent)}])
        self.searcher = LedgerSearcher(
            self.config,
            self.arms,
            teacher=lambda: teacher,
            capacity=capacity,
            folder=self.folder,
            drain=drain,
            local=True,
        )
        self.scheduler = LedgerScheduler(self.arms, self.config.objective_metric, drain)
        self.running: dict[str, Any] = {}
        self.started = 0
        self.finished = False

    def step(self) -> None:
        """What Tune does at an event: ask for trials until none comes, then handle a report of the longest silent."""
        while self._suggest():
            pass
        if self.running:
            self._report(next(iter(self.running)))

    def _suggest(self) -> bool:
        before = time.process_time()
        run = self.searcher.suggest(str(self.started))
        spent = time.process_time() - before
        if not isinstance(run, dict):
            self.part.idle_s += spent
            self.finished = run is not None
            return False
        self.part.suggest_s += spent
        self.part.suggestions += 1
        trial = SimpleNamespace(trial_id=str(self.started), config=run, last_result=None)
        self.started += 1
        self.running[trial.trial_id] = trial
        self.recorder.on_trial_start(0, [], trial)
        return True

    def _report(self, name: str) -> None:
        trial = self.running.pop(name)
        done = trial.last_result["iteration"] if trial.last_result else 0
        result = report(trial.config["number"], done + EVERY, self.config.class_names)
        trial.last_result = result
        with self.part.charged("report_s"):
            decision = self.scheduler.on_trial_result(None, trial, result)
            self.recorder.on_trial_result(0, [], trial, result)
        self.part.reports += 1
        if decision == "STOP" or result["iteration"] >= trial.config["budget"]:
            self._end(trial, decision)
        else:
            self.running[name] = trial

    def _end(self, trial: Any, decision: str) -> None:
        if decision != "STOP":
            trial.last_result = {**trial.last_result, "final": True}
        with self.part.charged("end_s"):
            self.searcher.on_trial_complete(trial.trial_id, trial.last_result)
            self.recorder.on_trial_complete(0, [], trial)
        self.part.ends += 1


def size_mib(place: Path) -> float:
    """Of a file, or of all files in a folder."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 2**20


def simulate(folder: Path, *, trials: int, concurrent: int, evaluations: int) -> list[Tenth]:
    """Run a study of so many trials to its end, and say what its driver did in each tenth of the trials' ends."""
    driver = Driver(study(trials, evaluations), folder, concurrent)
    parts: list[Tenth] = []
    process = psutil.Process()
    while not driver.finished:
        driver.step()
        if driver.part.ends >= trials / 10 or (driver.finished and driver.part.reports):
            driver.part.memory_mib = process.memory_info().rss / 2**20
            driver.part.journal_mib = size_mib(folder / "study.journal")
            driver.part.tables_mib = size_mib(folder / "tables")
            parts.append(driver.part)
            driver.part = Tenth()
    driver.tables.close()
    return parts


def show(parts: Sequence[Tenth]) -> None:
    """A line for each tenth."""
    print("ended   reports  suggest  idle    report  end     memory  journal tables")
    print("                 ms each  ms/ev.  ms each ms each MiB     MiB     MiB")
    ends = reports = 0
    for part in parts:
        ends, reports = ends + part.ends, reports + part.reports
        each = [
            1000 * spent / max(count, 1)
            for spent, count in (
                (part.suggest_s, part.suggestions),
                (part.idle_s, part.reports),
                (part.report_s, part.reports),
                (part.end_s, part.ends),
            )
        ]
        sizes = (part.memory_mib, part.journal_mib, part.tables_mib)
        print(f"{ends:<7} {reports:<8} " + " ".join(f"{value:<7.2f}" for value in (*each, *sizes)))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Simulate a study and write what it cost to runs/bench/driver.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5600, help="that end; with the defaults about 100,000 reports")
    parser.add_argument("--concurrent", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, default=40, help="of a trial that uses its whole budget")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/driver.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        parts = simulate(
            Path(place), trials=options.trials, concurrent=options.concurrent, evaluations=options.evaluations
        )
    show(parts)
    found = {"machine": machine(), **{k: v for k, v in vars(options).items() if k != "out"}}
    found["tenths"] = [asdict(part) for part in parts]
    # a suggestion has to look at all trials of its arm; nothing else may
    first, last = parts[0], parts[-1]
    costs = {
        "CPU for a report": [part.report_s / part.reports for part in (first, last)],
        "CPU for an end": [part.end_s / part.ends for part in (first, last)],
    }
    found["met"] = {name: end <= 2 * begin for name, (begin, end) in costs.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()

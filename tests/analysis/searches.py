"""Small searches, written as tables: parameters, learning curves, classes, terms, early stops and failures."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from study.tables import CLASS_IOU, ENVIRONMENT, REPORTS, TableWriter, trials_schema

CLASSES = {"road": (128, 64, 128), "sign": (220, 220, 0)}
EVALUATIONS = (10, 20, 30, 40)
NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
PARAMETERS = {
    "train/optimizer/lr": pa.float64(),
    "task/threshold": pa.float64(),
    "task/tfe_fraction": pa.float64(),
    "task/combine": pa.string(),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial whose mIoU rises by a tenth of `quality` at each of its evaluations, up to `quality`.

    Attributes:
        iterations: where it ended; 0 for one that failed before its first evaluation.
        ended: whether it has a row in the trials table.
        teacher_steps: of each report: steps with a recorded and with a live teacher, and milliseconds of a step.
    """

    arm: str
    number: int
    quality: float = 50.0
    state: str = "COMPLETE"
    iterations: int = 40
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    gpu_seconds: float = 0.0
    ended: bool = True
    teacher_steps: tuple[tuple[int, int, float], ...] = ()

    @property
    def curve(self) -> list[tuple[int, float]]:
        missing = {at: (EVALUATIONS[-1] - at) / EVALUATIONS[0] / 10 for at in EVALUATIONS}
        return [(at, self.quality * (1 - missing[at])) for at in EVALUATIONS if at <= self.iterations]

    @property
    def row(self) -> dict[str, Any]:
        scores = [miou for _, miou in self.curve] or [None]
        return {
            "arm": self.arm, "trial": self.number, "state": self.state, "attempts": 1, "iterations": self.iterations,
            "budget": 40, "seconds": 2.0 * self.iterations, "gpu_seconds": self.gpu_seconds, "config": self.config,
            "config_hash": "", "started": NOON, "ended": NOON, "error": self.error, "last_miou_percent": scores[-1],
            "best_miou_percent": scores[-1], "best_iteration": self.iterations or None,
            **{f"param/{path}": value for path, value in self.parameters.items()},
        }  # fmt: skip

    @property
    def config(self) -> str:
        return '{"a":1,"teacher":{"path":"t"}}' if self.teacher_steps else '{"a":1,"teacher":null}'

    @property
    def reports(self) -> list[dict[str, Any]]:
        steps = dict(zip(EVALUATIONS, self.teacher_steps, strict=False))
        return [
            {
                "arm": self.arm, "trial": self.number, "iteration": at, "attempt": 1, "time": NOON, "seconds": 1.0,
                "miou_percent": miou, "step_ms": steps[at][2] if at in steps else None,
                "metrics": {"train/term/task/main": 1 / at, "memory/peak_mib": 9.0, **_counted(*steps.get(at, ()))},
            }
            for at, miou in self.curve
        ]  # fmt: skip

    @property
    def ious(self) -> list[dict[str, Any]]:
        return [
            {"arm": self.arm, "trial": self.number, "iteration": at, "class": name, "iou_percent": miou + side}
            for at, miou in self.curve
            for name, side in zip(CLASSES, (5.0, -5.0), strict=True)
        ]


def _counted(*steps: float) -> dict[str, float]:
    return dict(zip(("time/teacher_recorded_steps", "time/teacher_live_steps"), steps, strict=False))


def rdd_parameters(n: int) -> dict[str, Any]:
    """Every fifth trial stays in TFE and has no threshold and no combine mode."""
    if n % 5 == 4:
        return {"task/tfe_fraction": 1.0}
    fractions, modes = (0.0, 0.1, 0.2, 0.3), ("xor", "and", "or")
    chosen = {"task/tfe_fraction": fractions[n % 4], "task/combine": modes[n % 3]}
    return {**chosen, "task/threshold": 0.5 + 0.02 * n}


def search() -> list[Trial]:
    """A teacher, and three arms of 15 trials: their quality rises with the number; some stop early, one fails."""
    rates = [{"train/optimizer/lr": 0.001 * 1.4**n} for n in range(15)]
    arms = {"baseline": rates, "kd": rates, "rdd": [rdd_parameters(n) for n in range(15)]}
    trials = [
        Trial(arm=arm, number=n, quality=40.0 + n + side, parameters=values)
        for side, (arm, found) in enumerate(arms.items())
        for n, values in enumerate(found)
    ]
    stopped = [replace(t, state="PRUNED", iterations=10) if t.number in (2, 3, 7) else t for t in trials]
    failed = Trial(arm="kd", number=15, state="FAIL", iterations=0, error="loss is not finite at iteration 7")
    return [*stopped, failed, Trial(arm="teacher", number=0, quality=70.0)]


def write_search(folder: Path, trials: Sequence[Trial], **config: Any) -> Path:
    """Its `study.json`, `classes.json` and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    arms = {trial.arm: {} for trial in trials if trial.arm != "teacher"}
    values = {"name": "small", "data": {"name": "streets"}, "arms": arms, **config}
    (folder / "study.json").write_text(json.dumps(values))
    classes = [{"name": name, "rgb": colour} for name, colour in CLASSES.items()]
    (folder / "classes.json").write_text(json.dumps(classes))
    place = folder / "tables"
    _write(place, trials_schema(PARAMETERS), ([trial.row] for trial in trials if trial.ended))
    _write(place, REPORTS, ([row] for trial in trials for row in trial.reports))
    _write(place, CLASS_IOU, (trial.ious for trial in trials))
    start = {
        "session": "1", "started": NOON, "host": "h", "command": "kdstudy run", "python": "3.11", "platform": "Linux",
        "packages": {"torch": "2.9"}, "devices": ["cpu"], "cpus": 2, "memory_mib": 1024.0,
    }  # fmt: skip
    _write(place, ENVIRONMENT, [[start]])
    return folder


def _write(place: Path, schema: pa.Schema, batches: Iterable[list[dict[str, Any]]]) -> None:
    with TableWriter(place, schema) as writer:
        for rows in batches:
            writer.append(rows)

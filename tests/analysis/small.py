"""Small finished studies, written as tables: trials of a chosen quality on a dozen images of three classes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.statistics import Counts, miou_percent
from study.tables import CLASS_IOU, IMAGE_CONFUSION, IMAGES, RESCORED, RESCORED_CONFUSION, TableWriter, trials_schema

CLASSES = ("road", "sign", "car")
NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
PARAMETERS = {"train/optimizer/lr": pa.float64(), "task/threshold": pa.float64(), "replicate": pa.int64()}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One ended trial.

    Attributes:
        gain: points by which its IoUs are higher than 50.
        noise: of each image's IoU, in points.
        config: of the trial, beside what every trial has.
        counted: whether the table image_confusion has it.
    """

    arm: str
    number: int = 0
    gain: float = 0.0
    noise: float = 1.0
    state: str = "COMPLETE"
    seeds: tuple[int, int] | None = (1, 1)
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    counted: bool = True
    images: int = 12
    cost_trials: float | None = None

    def counts(self, evaluation: str = "last") -> Counts:
        """[images, classes, 3]; every fourth image has no sign; the best evaluation is a point better."""
        own = np.random.default_rng([*self.arm.encode(), self.number])
        hardness = np.random.default_rng(0).normal(50, 10, (self.images, len(CLASSES)))
        points = hardness + self.gain + own.normal(0, self.noise, hardness.shape) + (evaluation == "best")
        size = np.full(hardness.shape, 2000)
        size[::4, CLASSES.index("sign")] = 0
        hits = np.rint(size * np.clip(points, 0, 100) / 100).astype(np.int64)
        return np.stack([hits, np.zeros_like(hits), size - hits], axis=-1)

    def score(self, evaluation: str) -> float:
        return float(miou_percent(self.counts(evaluation).sum(0)))

    @property
    def row(self) -> dict[str, Any]:
        seeds = dict(zip(("data_seed", "init_seed"), self.seeds, strict=True)) if self.seeds else {}
        failed = self.state == "FAIL"
        return {
            "arm": self.arm, "trial": self.number, "state": self.state, "attempts": 1,
            "iterations": 40 if self.state == "COMPLETE" else 10, "budget": 40, "seconds": 1.0, "gpu_seconds": 0.0,
            "config": json.dumps({"task": {"of": self.arm}, **self.config, **seeds}), "config_hash": "",
            "started": NOON, "ended": NOON, "best_iteration": 10, "cost_trials": self.cost_trials,
            "last_miou_percent": None if failed else self.score("last"),
            "best_miou_percent": None if failed else self.score("best"),
            **{f"param/{path}": value for path, value in self.parameters.items()},
        }  # fmt: skip


def write_study(folder: Path, trials: Sequence[Trial], **config: Any) -> Path:
    """Its `study.json` and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    arms = {trial.arm: {"methods": {} if trial.arm == "baseline" else {"kd": {}}} for trial in trials}
    values = {"name": "small", "data": {"name": "streets"}, "arms": arms, **config}
    (folder / "study.json").write_text(json.dumps(values))
    place = folder / "tables"
    with TableWriter(place, trials_schema(PARAMETERS)) as writer:
        writer.append([trial.row for trial in trials])
    with TableWriter(place, CLASS_IOU) as writer:
        writer.append([{**_key(trial), "class": name} for trial in trials for name in CLASSES])
    with TableWriter(place, IMAGE_CONFUSION) as writer:
        writer.append([row for trial in trials if trial.counted for row in _confusion(trial)])
    return folder


def write_groups(folder: Path, groups: Sequence[str], split: str = "val") -> None:
    """The table `images`: the group of each image, in their order."""
    with TableWriter(folder / "tables", IMAGES) as writer:
        writer.append([{"split": split, "image": f"val/{n:03}", "group": group} for n, group in enumerate(groups)])


def write_rescored(folder: Path, trials: Sequence[Trial], split: str = "test") -> None:
    """What `kdstudy rescore` leaves of these trials, as if the other split had the images of their last evaluation."""
    with TableWriter(folder / "tables", RESCORED) as writer:
        writer.append([{**_key(t), "split": split, "images": t.images, "miou_percent": t.score("last"),
                        "pixel_accuracy_percent": 50.0} for t in trials])  # fmt: skip
    with TableWriter(folder / "tables", RESCORED_CONFUSION) as writer:
        rows = [row for trial in trials for row in _confusion(trial) if row.pop("evaluation") == "last"]
        writer.append([{**row, "split": split} for row in rows])


def _key(trial: Trial) -> dict[str, Any]:
    return {"arm": trial.arm, "trial": trial.number, "iteration": trial.row["iterations"]}


def _confusion(trial: Trial) -> list[dict[str, Any]]:
    kinds = ("true_positives", "false_positives", "false_negatives")
    return [
        {
            **_key(trial), "evaluation": evaluation, "image": f"val/{image:03}", "class": CLASSES[number],
            **dict(zip(kinds, counts[image, number].tolist(), strict=True)),
        }
        for evaluation in ("last", "best")
        for counts in [trial.counts(evaluation)]
        for image, number in np.argwhere(counts.sum(2)).tolist()
    ]  # fmt: skip


def replicated(arm: str, gains: Sequence[float], first_seed: int = 1001) -> list[Trial]:
    """Runs of one setting with different seeds, of these qualities."""
    seeds = range(first_seed, first_seed + len(gains))
    return [
        Trial(arm=arm, number=n, gain=gain, seeds=(seed, seed), parameters={"replicate": n})
        for n, (gain, seed) in enumerate(zip(gains, seeds, strict=True))
    ]

"""A study that nobody ran: tables of any size in the stored layout, written from Arrow arrays instead of by appends.

Its configuration, search spaces, schemas and files are those of a real study, and so are the kinds of its numbers: a
curve that rises and flattens, classes around it, terms that fall. What it says means nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from search_spaces.space import Categorical, Int, Parameter
from study import tables
from study.configuration.config import StudyConfig
from study.execution.recording.environment import environment
from study.tables.files import PART_ROWS
from study.tables.parts import write_part
from trainers.config import TeacherFile, canonical_json, content_hash, parse, plain, replaced

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

ITERATIONS = 40_000
STARTED = datetime(2025, 3, 1, 8, tzinfo=UTC)
STEP_S = 0.3
TEACHER = {"path": "teacher.safetensors", "sha256": "0" * 64}
NETWORK = {"architecture": "deeplabv3", "backbone": "resnet18"}
ARMS: dict[str, dict[str, Any]] = {
    "baseline": {"space": ["optimizer"]},
    "kd": {"space": ["optimizer", "kd"], "methods": {"kd": {}}},
    "rdd": {"space": ["optimizer", "rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
    "cirkd": {"space": ["optimizer", "kd", "cirkd"], "methods": {"kd": {}, "cirkd": {}}},
}
TERMS = ("task/main", "task/aux", "kd/pixel", "cirkd/minibatch", "cirkd/pixel_memory", "cirkd/region_memory")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is written; the defaults make 38 million rows of class IoU.

    Attributes:
        trials: of all arms together.
        reports: of each trial that is not stopped early.
        images: of the validation set, in image_confusion.
        concurrent: trials whose rows stand between each other's.
        failed: share of the trials that end in an error, after all their reports.
        stopped: share of the trials that are stopped early, after half their reports.
        seed: of every number.
    """

    trials: int = 10_000
    reports: int = 200
    images: int = 4
    concurrent: int = 64
    failed: float = 0.02
    stopped: float = 0.0
    seed: int = 0


def write(folder: Path, size: Size = Size()) -> Path:
    """Write a study's folder: study.json, teacher.json, and all tables as parts.

    Args:
        folder: is made.
        size: of the tables.

    Returns:
        The folder.
    """
    drawn = _Drawn(size)
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(canonical_json(drawn.config))
    (folder / "teacher.json").write_text(json.dumps({**TEACHER, "miou_percent": 70.0, "trained_by": "0" * 64}))
    place = folder / "tables"
    _write(place / "trials", iter([drawn.trials()]))
    _write(place / "environment", iter([pa.Table.from_pylist([environment({})], tables.ENVIRONMENT)]))
    _write(place / "reports", map(drawn.reports, drawn.blocks()))
    _write(place / "class_iou", map(drawn.class_iou, drawn.blocks()))
    _write(place / "image_confusion", map(drawn.image_confusion, drawn.blocks()))
    return folder


def _write(place: Path, rows: Iterator[pa.Table]) -> None:
    """Parts of `PART_ROWS` rows, numbered as if each had been sealed alone."""
    place.mkdir(parents=True)
    held: pa.Table | None = None
    number = 0
    for table in rows:
        held = table if held is None else pa.concat_tables([held, table])
        while held.num_rows >= PART_ROWS:
            number += 1
            write_part(held.slice(0, PART_ROWS), place / f"part-{number:06}-{number:06}.parquet")
            held = held.slice(PART_ROWS)
    if held is not None and (held.num_rows or not number):
        write_part(held, place / f"part-{number + 1:06}-{number + 1:06}.parquet")


class _Drawn:
    """All that is random, and the tables made of it. A block is the trials that ran side by side."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._random = np.random.default_rng(size.seed)
        self._arm = np.arange(size.trials) % len(ARMS)
        self._number = np.arange(size.trials) // len(ARMS)
        fate = self._random.random(size.trials)
        self._failed, self._stopped = fate < size.failed, fate > 1 - size.stopped
        self._count = np.where(self._stopped, max(1, size.reports // 2), size.reports)
        self._level = self._random.normal(55, 6, size.trials)

    @cached_property
    def config(self) -> StudyConfig:
        every = max(1, ITERATIONS // self._size.reports)
        share = max(1, -(-self._size.trials // len(ARMS)))
        values = {
            "name": "synthetic",
            "data": {"name": "cityscapes", "root": "cityscapes"},
            "augment": {"crop": [512, 1024]},
            "student": NETWORK,
            "train": {"iterations": every * self._size.reports, "batch": 16, "evaluate_every": every},
            "teacher": {"file": TEACHER["path"]},
            "arms": {name: {"trials": share, **arm} for name, arm in ARMS.items()},
        }
        return parse(StudyConfig, values).with_spaces()

    def blocks(self) -> Iterator[slice]:
        for start in range(0, self._size.trials, self._size.concurrent):
            yield slice(start, min(start + self._size.concurrent, self._size.trials))

    def trials(self) -> pa.Table:
        spaces = [self.config.space(name) for name in ARMS]
        types = {path: pa.array(p.values()).type for space in spaces for path, p in space.parameters.items()}
        schema = tables.trials_schema(types)
        teacher = TeacherFile(**TEACHER)
        bases = [plain(self.config.trial(name, self.config.space(name).defaults(), teacher)) for name in ARMS]
        rows = []
        for trial, arm in enumerate(self._arm.tolist()):
            drawn = {path: self._value(parameter) for path, parameter in spaces[arm].parameters.items()}
            active = spaces[arm].active(drawn)
            rows.append(self._trial(trial, bases[arm], {path: drawn[path] for path in drawn if path in active}))
        return pa.Table.from_pylist(rows, schema)

    def _value(self, parameter: Parameter) -> Any:
        if isinstance(parameter, Categorical):
            return parameter.choices[self._random.integers(len(parameter.choices))]
        if isinstance(parameter, Int):
            return int(self._random.integers(parameter.low, parameter.high + 1))
        if parameter.log:
            return float(np.exp(self._random.uniform(np.log(parameter.low), np.log(parameter.high))))
        return float(self._random.uniform(parameter.low, parameter.high))

    def _trial(self, trial: int, base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        config = dict(base)
        for path, value in values.items():
            config = replaced(config, path, value)
        curve = self._curve(np.array([trial]), np.arange(self._count[trial]))[0]
        iterations = self._iterations(np.arange(self._count[trial]))
        seconds = float(iterations[-1] * STEP_S)
        started = STARTED + timedelta(seconds=trial * 7)
        failed, stopped = bool(self._failed[trial]), bool(self._stopped[trial])
        return {
            "arm": list(ARMS)[self._arm[trial]],
            "trial": int(self._number[trial]),
            "state": "FAIL" if failed else "PRUNED" if stopped else "COMPLETE",
            "attempts": 1,
            "iterations": int(iterations[-1]),
            "budget": self.config.train.iterations,
            "seconds": seconds,
            "gpu_seconds": seconds,
            "config": json.dumps(config, sort_keys=True, separators=(",", ":")),
            "config_hash": content_hash(config),
            "started": started,
            "ended": started + timedelta(seconds=seconds),
            "error": "the last evaluation was lost with its machine" if failed else None,
            "host": f"node-{trial % 16}",
            "peak_memory_mib": 9000.0 + trial % 100,
            "best_miou_percent": float(curve.max()),
            "last_miou_percent": float(curve[-1]),
            "best_iteration": int(iterations[curve.argmax()]),
            "cost_trials": float(iterations[-1]) / self.config.train.iterations,
            "stopped_by": "pruning" if stopped and not failed else None,
            "earliest_stop": self.config.train.evaluate_every,
            **{f"param/{path}": value for path, value in values.items()},
        }

    def _iterations(self, reports: Integers) -> Integers:
        return (reports + 1) * self.config.train.evaluate_every

    def _curve(self, trials: Integers, reports: Integers) -> Reals:
        """mIoU in percent, [trials, reports]: the same whenever it is asked for."""
        share = (reports + 1) / self._size.reports
        wave = np.sin(trials[:, None] * 1.7 + reports * 2.3)
        return np.clip(self._level[trials][:, None] * (1 - np.exp(-4 * share)) + wave, 0, 100)

    def _evaluations(self, block: slice) -> tuple[Integers, Integers]:
        """Trial and report of each evaluation of a block, in the order in which they came."""
        trials = np.arange(self._size.trials)[block]
        reports, place = np.meshgrid(np.arange(self._size.reports), np.arange(len(trials)), indexing="ij")
        made = reports < self._count[trials][place]
        return trials[place[made]], reports[made]

    def _key(self, trials: Integers, reports: Integers) -> dict[str, Any]:
        arms = pa.DictionaryArray.from_arrays(pa.array(self._arm[trials]), list(ARMS)).cast(pa.string())
        return {"arm": arms, "trial": self._number[trials], "iteration": self._iterations(reports)}

    def _miou(self, trials: Integers, reports: Integers) -> Reals:
        first = int(trials.min())
        curves = self._curve(np.arange(first, int(trials.max()) + 1), np.arange(self._size.reports))
        return curves[trials - first, reports]

    def reports(self, block: slice) -> pa.Table:
        trials, reports = self._evaluations(block)
        miou, count = self._miou(trials, reports), len(trials)
        iteration = self._iterations(reports)
        begun = STARTED.timestamp() * 1000 + trials * 7000
        step_ms = 1000 * STEP_S + self._random.normal(0, 5, count)
        columns = {
            **self._key(trials, reports),
            "attempt": np.ones(count, np.int64),
            "time": (begun + iteration * STEP_S * 1000).astype(np.int64),
            "seconds": iteration * STEP_S,
            "miou_percent": miou,
            "pixel_accuracy_percent": np.clip(miou + 20 + self._random.normal(0, 1, count), 0, 100),
            "loss": 3 * np.exp(-iteration / ITERATIONS) + self._random.normal(0, 0.1, count),
            "learning_rate": 0.02 * (1 - np.minimum(iteration / ITERATIONS, 0.999)) ** 0.9,
            "step_ms": step_ms,
            "metrics": self._metrics(miou),
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in tables.REPORTS], tables.REPORTS)

    def _metrics(self, miou: Reals) -> pa.Array:
        names = ["best/miou_percent", "best/iteration", "memory/peak_mib", *(f"train/term/{term}" for term in TERMS)]
        values = self._random.gamma(2, 0.5, (len(miou), len(names)))
        values[:, 0] = miou
        keys = pa.DictionaryArray.from_arrays(np.tile(np.arange(len(names)), len(miou)), names).cast(pa.string())
        return pa.MapArray.from_arrays(np.arange(len(miou) + 1) * len(names), keys, values.ravel())

    def class_iou(self, block: slice) -> pa.Table:
        trials, reports = self._evaluations(block)
        names = self.config.class_names
        miou = np.repeat(self._miou(trials, reports), len(names))
        columns = {
            **self._key(np.repeat(trials, len(names)), np.repeat(reports, len(names))),
            "class": self._tiled(names, len(trials)),
            "iou_percent": np.clip(miou + self._random.normal(0, 8, len(miou)), 0, 100),
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in tables.CLASS_IOU], tables.CLASS_IOU)

    def image_confusion(self, block: slice) -> pa.Table:
        """As if a trial's last evaluation were its best."""
        ended = np.arange(self._size.trials)[block]
        classes, images = self.config.class_names, [f"image-{number:04}" for number in range(self._size.images)]
        each = len(classes) * len(images)
        trials = np.repeat(ended, 2 * each)
        evaluations = pa.array(["last", "best"] * len(ended)).take(np.arange(len(trials)) // each)
        counts = self._random.integers(1, 200_000, (3, len(trials)))
        columns = {
            **self._key(trials, self._count[trials] - 1),
            "evaluation": evaluations,
            "image": pa.array(images * 2 * len(ended)).take(np.arange(len(trials)) // len(classes)),
            "class": self._tiled(classes, 2 * len(images) * len(ended)),
            "true_positives": counts[0],
            "false_positives": counts[1] // 4,
            "false_negatives": counts[2] // 4,
        }
        schema = tables.IMAGE_CONFUSION
        return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema)

    def _tiled(self, names: tuple[str, ...], times: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.tile(np.arange(len(names)), times), list(names)).cast(pa.string())
